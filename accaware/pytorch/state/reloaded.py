"""Whether a model that was saved, loaded again, computes what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError, RunError
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.data.random_state import RandomState
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import output_tensors, same_bits
from accaware.pytorch.model.wrappers import eagerly
from accaware.pytorch.state.checkpoint import load_compressed, saved_form

NOTHING = "the model gives no numbers for the example inputs, so that nothing can be compared"

_SEED = 0
"""Of both calls: a model may be random in evaluation as well."""


def check_reloaded(
    path: Path,
    model: nn.Module,
    fresh: nn.Module,
    inputs: ExampleInputs,
    *,
    device: torch.device,
    warn: Callable[[str], None],
) -> None:
    """Compare, in evaluation mode and to the bit, what both give for the example inputs.

    Args:
        path: of the file that was made of ``model``.
        fresh: dense, with nothing attached to it; the file is loaded into it.
        inputs: on the device.
        warn: told where only the tensors could be compared, since the model itself gives
            something else at each call.

    Raises:
        RunError: the file can't be loaded, or what is loaded fails or computes something else; or
            there was nothing to compare.
    """
    try:
        loaded = load_compressed(path, fresh).to(device)
    except CheckpointError as error:
        raise RunError(f"the saved model can't be loaded again: {error}") from error
    with _evaluating(model, loaded, device=device):
        wanted = outputs_of(model, inputs)
        if not any(tensor.numel() for tensor in wanted):
            raise RunError(NOTHING)
        try:
            got = outputs_of(loaded, inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise RunError(
                f"the saved model, loaded again, fails: {type(error).__name__}: {error}"
            ) from error
        if _same(wanted, got):
            return
        steady = _same(wanted, outputs_of(model, inputs))
    others = _other_tensors(model, loaded)
    if not steady and not others:
        warn(
            "the model gives something else at each call: of the saved one the parameters and "
            "buffers were compared, and not what it computes"
        )
        return
    raise RunError(
        "the saved model, loaded again, computes something else than the run's model: "
        f"{_difference(wanted, got)}; "
        + (
            f"other values have {', '.join(others)}"
            if others
            else "its parameters and buffers are the same, so the forward depends on something "
            "else, which training changes or create_model makes anew"
        )
    )


def outputs_of(model: nn.Module, inputs: ExampleInputs) -> Sequence[Tensor]:
    """All tensors that a model gives for inputs, which it may change; seeds the generators.

    Nothing runs compiled: of one model there may be versions that round in other ways.
    """
    seed_everything(_SEED)
    with torch.no_grad(), eagerly():
        output = inputs.mapped(Tensor.clone).call(model)
    return [tensor.detach().clone() for tensor in output_tensors(output)]


def gives_numbers(model: nn.Module, inputs: ExampleInputs, device: torch.device) -> bool:
    """Whether anything of what a model gives can be compared."""
    with _evaluating(model, device=device):
        return any(tensor.numel() for tensor in outputs_of(model, inputs))


@contextmanager
def _evaluating(*models: nn.Module, device: torch.device) -> Iterator[None]:
    """The modes and all random numbers are as they were afterwards."""
    randomness = RandomState((), device)
    state = randomness.state_dict()
    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        randomness.load_state_dict(state)


def _same(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> bool:
    return len(wanted) == len(got) and all(map(same_bits, wanted, got))


def _difference(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> str:
    shapes = [[list(tensor.shape) for tensor in outputs] for outputs in (wanted, got)]
    if shapes[0] != shapes[1]:
        return f"outputs of the shapes {shapes[1]}, and not {shapes[0]}"
    return "outputs differ by up to " + format(max(map(_largest, wanted, got)), ".3g")


def _largest(mine: Tensor, other: Tensor) -> float:
    """The largest difference; infinite where one is no finite number and the other is another."""
    if not mine.numel() or same_bits(mine, other):
        return 0.0
    dtype = torch.complex128 if mine.is_complex() or other.is_complex() else torch.float64
    differences = (mine.to(dtype) - other.to(dtype)).abs()
    return float(
        torch.where(mine.to(dtype) == other.to(dtype), 0, differences).nan_to_num(torch.inf).max()
    )


def _other_tensors(model: nn.Module, loaded: nn.Module) -> list[str]:
    """Names of what is saved of the one and isn't the same in the other; the first few."""
    mine, others = saved_form(model, {}), saved_form(loaded, {})
    names = [
        name
        for own, its in ((mine.state, others.state), (mine.buffers, others.buffers))
        for name, tensor in own.items()
        if isinstance(tensor, Tensor)
        and not (isinstance(its.get(name), Tensor) and same_bits(tensor, its[name]))
    ]
    return [*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])]
