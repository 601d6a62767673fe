"""What a run handed over, held against the model that it had in memory in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from accaware.pytorch import load_compressed
from accaware.runtimes import runtime


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Of the model as it is deployed."""
    model.eval()
    with torch.no_grad():
        found: Tensor = model(images)
    return found


def check_loads(path: Path, fresh: nn.Module, model: nn.Module, images: Tensor) -> None:
    """The file makes of a dense model one that computes the same to the bit."""
    loaded = load_compressed(path, fresh)
    expected = outputs(model, images)
    assert expected.isfinite().all()
    assert expected.std() > 0
    assert torch.equal(outputs(loaded, images), expected)


def check_exported(
    path: Path, form: str, model: nn.Module, images: Tensor, *, rounds: bool
) -> None:
    """The file computes what the model does, up to how its runtime sums up and rounds.

    Args:
        rounds: whether activations are quantized, which sends those between two steps either way.
    """
    if form == "state-dict":
        _check_state(path, model)
        return
    expected, found = outputs(model, images), _DEPLOYED[form](path, images)
    assert found.shape == expected.shape
    apart = (found - expected).abs().max() / expected.abs().max()
    if rounds:
        same = (found.argmax(1) == expected.argmax(1)).float().mean()
        assert same >= 0.95, f"{same:.1%} of the answers are the model's"
    else:
        assert apart <= 1e-4, f"apart by {apart:.2g} of the largest output"


def _check_state(path: Path, model: nn.Module) -> None:
    """Under the model's own names; a quantized weight as integers of its shape, near its values."""
    state = torch.load(path, weights_only=True)
    own = model.state_dict()
    assert own
    for name, tensor in own.items():
        if name in state:
            assert torch.equal(state[name], tensor), name
            continue
        integers, scale = state[f"{name}_integers"], state[f"{name}_scale"]
        assert integers.dtype == torch.int8
        scale = scale.reshape(-1, *[1] * (tensor.dim() - 1))
        stands_for = (integers - state[f"{name}_zero_point"].reshape(scale.shape)) * scale
        near = (stands_for - tensor).abs() <= 0.501 * scale
        # With few bits a range leaves out the largest weights, which stand at its ends.
        ends = (integers.abs() == integers.abs().max()) & (stands_for.abs() < tensor.abs())
        assert (near | ends).all(), name
        assert near.float().mean() > 0.5, name


def _in_runtime(name: str) -> Callable[[Path, Tensor], Tensor]:
    def run(path: Path, images: Tensor) -> Tensor:
        (found,) = runtime(name).load(path, 1).run({0: images.numpy()})
        return torch.as_tensor(found)

    return run


def _in_torch(path: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = torch.export.load(path).module()(images)
    return found


_DEPLOYED = {
    "onnx": _in_runtime("onnxruntime"),
    "openvino": _in_runtime("openvino"),
    "torch-export": _in_torch,
}
