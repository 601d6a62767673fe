"""Networks of five kinds, 30 % of their filters removed, in float and in 8 bits, exported.

Each is written as ONNX and for OpenVINO, read back and run on noise. Weights are random, with
batch norm statistics of noise: the hardest case for agreement, as no output stands out. Exits
with 1 if a file can't be written or doesn't agree.

    python scripts/export_torchvision.py [MODEL ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
import torchvision
from torch import nn

from accaware import AccAwareConfig
from accaware.errors import AccAwareError
from accaware.pytorch import create_compressed_model, export_model
from accaware.pytorch.export import FORMATS
from accaware.pytorch.export.comparison.comparison import Compared

MODELS = ("vgg11_bn", "mobilenet_v2", "densenet121", "efficientnet_b0", "shufflenet_v2_x1_0")
SIZE = 64
RATE = 0.3
PRUNING = {"algorithm": "filter_pruning", "params": {"schedule": "baseline"}}
MIXES = {"float": [PRUNING], "int8": [PRUNING, {"algorithm": "quantization"}]}
SEARCH = {
    "mode": "adaptive_compression_level",
    "params": {
        "maximal_relative_accuracy_degradation": 1.0,
        "initial_training_phase_epochs": 1,
        "patience_epochs": 1,
    },
}


def main() -> int:
    print(f"{'model':20} {'mix':6} {'format':9} {'size':>9} {'difference':>11}  same top-1")
    failures = 0
    for name in sys.argv[1:] or MODELS:
        for mix in MIXES:
            torch.manual_seed(0)
            model = _compressed(name, mix)
            for form in ("onnx", "openvino"):
                failures += not _exported(model, name, mix, form)
    return min(failures, 1)


def _compressed(name: str, mix: str) -> nn.Module:
    model: nn.Module = getattr(torchvision.models, name)(weights=None)
    noise = [torch.randn(8, 3, SIZE, SIZE) for _ in range(2)]
    model.train()
    with torch.no_grad():
        for images in noise:
            model(images)
    config = AccAwareConfig.from_dict(
        {"accuracy_aware_training": SEARCH, "compression": MIXES[mix]}
    )
    batches = [(images, torch.zeros(8, dtype=torch.long)) for images in noise]
    controller, _ = create_compressed_model(model, config, noise[0][:1], batches)
    controller.scheduler.disable()
    controller.compression_rate = RATE
    return model.eval()


def _exported(model: nn.Module, name: str, mix: str, form: str) -> bool:
    found: list[Compared] = []

    def check(compared: Compared) -> None:
        compared(torch.randn(8, 3, SIZE, SIZE))
        found.append(compared)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{FORMATS[form].suffix}"
        try:
            export_model(model, torch.randn(1, 3, SIZE, SIZE), path, format=form, check=check)
        except AccAwareError as error:
            print(f"{name:20} {mix:6} {form:9} FAILED: {error}", flush=True)
            return False
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    difference = found[0].difference
    relative = difference.largest / difference.largest_output
    same = f"{difference.same_top1} of {difference.samples}"
    print(f"{name:20} {mix:6} {form:9} {size / 1e6:6.1f} MB {relative:11.1e}  {same}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
