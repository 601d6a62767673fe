"""Every classifier of torchvision: pruned rightly, or refused with a reason.

Each is built without weights, loses 30 % of its filters, and is compared in double precision
with a masked reference that knows nothing of how channels were followed: the dense network with
the removed filters at zero. It is then saved and loaded into a fresh model. Images are as small
as the architecture allows; FLOPs are those at its own resolution. Seconds are the processor's.
Exits with 1 if any is wrong, or if fewer are pruned than promised.

    python scripts/coverage_torchvision.py                # all, in about a quarter of an hour
    python scripts/coverage_torchvision.py resnet18 swin_t
    python scripts/coverage_torchvision.py --smallest     # ten of them
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from accaware import AccAwareConfig
from accaware.errors import CompressionError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.channels.layout import KeptMasks
from accaware.pytorch.model.copies import copy_without_values
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs

RATE = 0.3
ENOUGH = 0.1
"""The share of FLOPs from which on a model counts as pruned."""
WANTED = 77
TOLERANCE = 1e-8
"""Largest difference of outputs, relative to the largest of them."""

CONFIG = AccAwareConfig.from_dict(
    {
        "accuracy_aware_training": {
            "mode": "early_exit",
            "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
        },
        "compression": {
            "algorithm": "filter_pruning",
            "params": {"prune_first_conv": True, "prune_downsample_convs": True},
        },
    }
)
SMALL = 64
"""Pixels a side; what takes others is below: (while pruning, as published)."""
SIDES = {
    "inception_v3": (299, 299),  # its auxiliary head takes nothing smaller
    "maxvit_t": (224, 224),
    "vit_b_16": (32, 224),
    "vit_b_32": (64, 224),
    "vit_h_14": (28, 224),
    "vit_l_16": (32, 224),
    "vit_l_32": (64, 224),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}
SMALLEST = (
    "squeezenet1_1", "squeezenet1_0", "shufflenet_v2_x0_5", "mnasnet0_5", "shufflenet_v2_x1_0",
    "mobilenet_v3_small", "mnasnet0_75", "shufflenet_v2_x1_5", "mobilenet_v2", "regnet_y_400mf",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What became of one classifier.

    Attributes:
        parameters, flops: dense and compressed.
        finding: seconds for the groups of coupled channels.
        creating: seconds until the model can be pruned, the trial of every group included.
    """

    name: str
    verdict: str
    reason: str = ""
    parameters: tuple[int, int] = (0, 0)
    flops: tuple[int, int] = (0, 0)
    rate: float = 0.0
    finding: float = 0.0
    creating: float = 0.0
    seconds: float = 0.0
    gigabytes: float = 0.0

    def __str__(self) -> str:
        sizes = (self.flops, self.parameters)
        gone = (1 - now / dense if dense else 0.0 for dense, now in sizes)
        shares = " ".join(f"{share:6.1%}" for share in (*gone, self.rate))
        seconds = " ".join(f"{each:6.1f} s" for each in (self.finding, self.creating, self.seconds))
        return (
            f"{self.name:20} {self.verdict:8} {shares} {self.parameters[0] / 1e6:7.1f} M "
            f"{self.flops[0] / 1e9:8.2f} G {seconds} {self.gigabytes:5.1f} GiB  {self.reason}"
        ).rstrip()


HEADER = (
    f"{'':20} {'':8} {'FLOPs':>6} {'params':>6} {'rate':>6} {'dense':>9} {'FLOPs':>10} "
    f"{'groups':>8} {'tried':>8} {'all':>8} {'peak':>9}"
)


def build(name: str, side: int) -> nn.Module:
    """Seeded; as after training, nothing is exactly zero or one."""
    arguments = dict(ARGUMENTS.get(name, {}))
    if name.startswith("vit_"):
        arguments["image_size"] = side
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.2)
    for parameter in model.parameters():
        if not parameter.is_meta and parameter.min() == parameter.max():
            nn.init.normal_(parameter, std=0.5)
    return model.eval()


def mask(model: nn.Module, kept: KeptMasks) -> None:
    """Hold at zero what the layers of a dense model no longer make; their readers stay."""
    for name, module in model.named_modules():
        own_tensors = [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]
        for own, tensor in own_tensors:
            masks = kept.get(f"{name}.{own}" if name else own, {})
            if not masks or own == "running_var":
                continue
            # A layer makes what lies along its first dimension; a bare parameter has one.
            layer = isinstance(module, (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm))
            dim = 0 if layer else next(iter(masks))
            if dim in masks:
                shape = [1] * tensor.dim()
                shape[dim] = -1
                tensor.data.mul_(masks[dim].reshape(shape))


@torch.no_grad()
def output_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """In double precision; the model is left in single."""
    output: Tensor = model.double().eval()(inputs.double())
    model.float()
    return output


def examine(name: str) -> Row:
    """Prune one classifier and judge it."""
    began = time.process_time()
    side, published = SIDES.get(name, (SMALL, 224))
    inputs = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    model = build(name, side)
    if name.startswith("vit_"):  # whose parameters depend on the resolution
        with torch.device("meta"):
            shapes = build(name, published)
    else:
        shapes = copy_without_values(model)
    flops = FlopsModel(shapes, ExampleInputs.of(torch.empty(1, 3, published, published).to("meta")))
    try:
        finding = time.process_time()
        find_dependencies(model, ExampleInputs.of(inputs))
        creating = time.process_time()
        controller, _ = create_compressed_model(model, CONFIG, inputs)
        created = time.process_time()
    except CompressionError as error:
        return Row(name, "refused", str(error), seconds=time.process_time() - began)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    controller.compression_rate = RATE
    rate, kept = controller.compression_rate, controller.algorithm.kept_masks()
    del controller
    now = {key: tensor.shape for key, tensor in tensors_of(model).items()}
    sizes = (parameters, sum(parameter.numel() for parameter in model.parameters()))
    operations = (flops.dense, flops.count(now))
    compact = output_of(model, inputs)
    fault = ""
    with tempfile.TemporaryDirectory() as folder:
        save_compressed(model, kept, Path(folder) / "model.pt")
        del model
        reference = build(name, side)
        mask(reference, kept)
        masked = output_of(reference, inputs)
        difference = float((compact - masked).abs().max() / masked.abs().max())
        if not difference <= TOLERANCE:
            fault = f"compact and masked differ by {difference:.1e}"
        fresh = load_compressed(Path(folder) / "model.pt", reference)
        if not fault and not torch.equal(output_of(fresh, inputs), compact):
            fault = "the loaded model computes something else"
    share = 1 - operations[1] / operations[0]
    verdict = "WRONG" if fault else "pruned" if share >= ENOUGH else "little"
    seconds = time.process_time() - began
    return Row(
        name,
        verdict,
        fault,
        sizes,
        operations,
        rate,
        creating - finding,
        created - creating,
        seconds,
    )


def examined_apart(name: str) -> Row:
    """In a process of its own, which gives all memory back."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(name, theirs))
    process.start()
    theirs.close()
    try:
        row: Row = mine.recv()
    except EOFError:
        process.join()
        row = Row(name, "WRONG", f"its process ended with {process.exitcode}")
    process.join()
    return row


def _send(name: str, pipe: Any) -> None:
    try:
        row = examine(name)
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
        row = Row(name, "WRONG", f"{type(error).__name__}: {error}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    pipe.send(Row(**{**vars(row), "gigabytes": peak}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="classifiers; all by default")
    parser.add_argument("--smallest", action="store_true", help="the ten smallest")
    asked = parser.parse_args()
    every = torchvision.models.list_models(module=torchvision.models)
    names = asked.names or (list(SMALLEST) if asked.smallest else every)
    began = time.perf_counter()
    print(HEADER)
    table = []
    for name in names:
        table.append(examined_apart(name))
        print(table[-1], flush=True)
    count = {
        verdict: sum(row.verdict == verdict for row in table)
        for verdict in ("pruned", "little", "refused", "WRONG")
    }
    print(
        f"{len(table)} classifiers: {count['pruned']} pruned by at least {ENOUGH:.0%} of their "
        f"FLOPs (of all, at least {WANTED} are promised), {count['little']} by less, "
        f"{count['refused']} refused, {count['WRONG']} wrong; groups built in at most "
        f"{max(row.finding for row in table):.1f} s (under 5), "
        f"{time.perf_counter() - began:.0f} s in all (under 1200), "
        f"{max(row.gigabytes for row in table):.1f} GiB (under 16)"
    )
    too_few = names is every and count["pruned"] < WANTED
    return 1 if count["WRONG"] or too_few else 0


if __name__ == "__main__":
    sys.exit(main())
