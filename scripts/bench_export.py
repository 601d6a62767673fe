"""An exported ResNet-18, half of its filters removed and the rest in 8 bits, against the dense one.

For 224x224 images, on two threads, in each inference runtime that is installed; both exported to
ONNX or OpenVINO by accaware and timed in turn. Last, what the runtime's own profile says it ran.

    python scripts/bench_export.py
"""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from accaware import AccAwareConfig, runtimes
from accaware.pytorch import benchmark, create_compressed_model, export_model

THREADS = 2
CONFIG = {
    "accuracy_aware_training": {
        "mode": "adaptive_compression_level",
        "params": {
            "maximal_relative_accuracy_degradation": 1.0,
            "initial_training_phase_epochs": 1,
            "patience_epochs": 1,
        },
    },
    "compression": [
        {
            "algorithm": "filter_pruning",
            "params": {
                "schedule": "baseline",
                "pruning_target": 0.5,
                "prune_first_conv": True,
                "prune_downsample_convs": True,
            },
        },
        {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 16}}},
    ],
}


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    images = torch.randn(16, 3, 224, 224)
    dense = _with_statistics(torchvision.models.resnet18(weights=None), images)
    compressed = copy.deepcopy(dense)
    batches = [(images, torch.zeros(16, dtype=torch.long))]
    controller, _ = create_compressed_model(
        compressed, AccAwareConfig.from_dict(CONFIG), images[:1], batches
    )
    controller.scheduler.disable()
    controller.compression_rate = 0.5
    print(f"ResNet-18, 224x224, {THREADS} threads, a batch of 1:")
    for runtime in runtimes.installed():
        found = benchmark(
            dense, compressed, images[:1], runtime=runtime.name, threads=THREADS, seconds=4
        )
        before, after = found.latency.dense.median, found.latency.compressed.median
        size = found.file_size
        print(f"{runtime.name} {runtime.version}")
        print(
            f"  latency    {1e3 * before:6.2f} ms dense, {1e3 * after:6.2f} ms compressed: "
            f"{after / before:.3f} x"
        )
        print(
            f"  file size  {size.dense / 1e6:6.2f} MB dense, {size.compressed / 1e6:6.2f} MB "
            f"compressed: 1/{size.dense / size.compressed:.1f}"
        )
        print(f"  compressed, what ran: {_kernels(compressed, images[:1], runtime)}")


def _with_statistics(model: nn.Module, images: Tensor) -> nn.Module:
    """Batch norms as after some training, so that activations have ranges like those of one."""
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(images)
    return model.eval()


def _kernels(model: nn.Module, image: Tensor, runtime: runtimes.Runtime) -> str:
    """Convolutions and additions by their precision."""
    form, suffix = {"onnxruntime": ("onnx", ".onnx"), "openvino": ("openvino", ".xml")}[
        runtime.name
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        export_model(model, image, path, format=form, dynamic_batch=False)
        kernels = runtime.load(path, THREADS).profile({0: image.numpy()})
    wanted = [kernel for kernel in kernels if kernel.convolves or "Add" in kernel.operator]
    counts = Counter((kernel.operator, kernel.precision) for kernel in wanted)
    return ", ".join(f"{count} {name} in {kind}" for (name, kind), count in counts.items())


if __name__ == "__main__":
    main()
