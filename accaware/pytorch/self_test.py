"""Whether torch works here: what it finds, and a small model that is pruned for real.

Run as a program, this module prints two lines of JSON, a TorchProbe and a SelfTest: in a process
of its own, as what doesn't fit may end it.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from accaware.config.load import AccAwareConfig
from accaware.errors import AccAwareError, MissingExtraError
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.model.device import hardware_of
from accaware.pytorch.state.checkpoint import load_compressed, save_compressed
from accaware.results import strict_json
from accaware.results.diagnosis import Device, InferenceRuntime, SelfTest, TorchProbe
from accaware.runtimes import RUNTIMES
from accaware.wording import first_line

_SHAPE = (16, 3, 8, 8)
_RATE = 0.5
_TOLERANCE = 1e-2
"""Of the largest output, for sums in another order; some GPUs multiply with ten bits (TF32).

A filter too many or too few makes a difference of its own size.
"""


def probe() -> TorchProbe:
    """What torch and the inference runtimes find on this machine."""
    cuda = torch.version.cuda
    return TorchProbe(
        build=f"CUDA {cuda}" if cuda else "no CUDA",
        pair=_pair(),
        devices=list(_devices()),
        runtimes=list(_runtimes()),
    )


def self_test() -> SelfTest:
    """Prune a small model, and compare it with one of which the same filters are masked.

    On each device: half of the filters go, what is left must compute what the masked model does,
    a step must train it, and its file must bring it back to the bit.
    """
    began = time.perf_counter()
    devices = [device.name for device in _devices()]
    failure = None
    for name in devices:
        try:
            _check(torch.device(name))
        except (AccAwareError, _Differs, RuntimeError, OSError) as error:
            failure = f"on {name}: {first_line(error)}"
            break
    seconds = time.perf_counter() - began
    return SelfTest(devices=devices, seconds=round(seconds, 3), failure=failure)


class _Differs(Exception):  # noqa: N818 - it is what a result does
    """The pruned model isn't what it should be."""


def _check(device: torch.device) -> None:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        model = _model().to(device)
        inputs = torch.randn(_SHAPE, device=device)
    # Statistics of batch norm other than those that it begins with.
    model(inputs)
    model.eval()
    dense = copy.deepcopy(model)
    controller, _ = create_compressed_model(model, _config(), inputs)
    controller.compression_rate = _RATE
    filters = [len(layer.weight) for layer in _convolutions(model)]
    if filters != [4, 4]:
        raise _Differs(f"half of 8 and 8 filters should be left, and {filters} are")
    _compare("the pruned model", model(inputs), _masked(dense, model)(inputs))
    kept = controller.algorithm.kept_masks()
    with tempfile.TemporaryDirectory(prefix="accaware-") as folder:
        save_compressed(model, kept, Path(folder) / "model.pt")
        loaded = load_compressed(Path(folder) / "model.pt", copy.deepcopy(dense))
    if not _are_equal(loaded, model):
        raise _Differs("the saved model came back as another one")
    _compare("the saved model", loaded(inputs), model(inputs))
    before = _convolutions(model)[0].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    model(inputs).square().mean().backward()
    optimizer.step()
    if torch.equal(before, _convolutions(model)[0].weight):
        raise _Differs("a training step left the pruned model as it was")


def _model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def _config() -> AccAwareConfig:
    params = {"schedule": "baseline", "prune_first_conv": True}
    budget = {"maximal_relative_accuracy_degradation": 1.0, "maximal_total_epochs": 1}
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {"mode": "early_exit", "params": budget},
            "compression": {"algorithm": "filter_pruning", "params": params},
        }
    )


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def _masked(dense: nn.Sequential, pruned: nn.Module) -> nn.Module:
    """The dense model, with zeros behind the filters that the pruned one hasn't got."""
    masked = copy.deepcopy(dense)
    norms = [layer for layer in masked if isinstance(layer, nn.BatchNorm2d)]
    inputs = torch.arange(3)
    for whole, part, norm in zip(_convolutions(dense), _convolutions(pruned), norms, strict=True):
        # A filter is known by its numbers, as they were drawn.
        rows = whole.weight[:, inputs.to(whole.weight.device)]
        same = (rows[:, None] == part.weight[None]).flatten(2).all(2).any(1)
        with torch.no_grad():
            for parameter in (norm.weight, norm.bias):
                parameter.mul_(same)
        inputs = same.nonzero().flatten().cpu()
    return masked


def _are_equal(one: nn.Module, other: nn.Module) -> bool:
    """To the bit."""
    tensors, others = one.state_dict(), other.state_dict()
    return tensors.keys() == others.keys() and all(
        torch.equal(tensor, others[name]) for name, tensor in tensors.items()
    )


def _compare(what: str, found: Tensor, expected: Tensor) -> None:
    difference = (found - expected).abs().max().item()
    if not difference <= _TOLERANCE * max(expected.abs().max().item(), 1.0):
        raise _Differs(f"{what} computes something else, by {difference:.2g}")


def _pair() -> str | None:
    """Importing it looks up operators in torch, and one of them is run: another build has none."""
    try:
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        return first_line(error)
    return None


def _devices() -> Iterator[Device]:
    yield Device(
        name="cpu",
        hardware=hardware_of(torch.device("cpu")),
        memory_free=None,
        memory_total=None,
    )
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Device(name=f"cuda:{index}", hardware=name, memory_free=free, memory_total=total)
    if torch.backends.mps.is_available():
        yield Device(name="mps", hardware="Apple GPU", memory_free=None, memory_total=None)


def _runtimes() -> Iterator[InferenceRuntime]:
    for name, make in RUNTIMES.items():
        if find_spec(name) is None:
            continue
        try:
            yield InferenceRuntime(name=name, version=make().version, failure=None)
        except MissingExtraError as error:
            yield InferenceRuntime(name=name, version=None, failure=first_line(error))


if __name__ == "__main__":
    print(strict_json.line(probe()), flush=True)
    print(strict_json.line(self_test()), flush=True)
