"""A model as the program that torch.export makes of it."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from accaware.errors import RunError
from accaware.pytorch.export.network.batch_axis import BatchAxis
from accaware.pytorch.export.network.stand_in import with_forward
from accaware.pytorch.model.inputs import ExampleInputs


def exported_program(
    model: nn.Module, inputs: ExampleInputs, dynamic_batch: bool | None
) -> tuple[ExportedProgram, str | None]:
    """The program that torch.export makes of a model.

    Args:
        model: in evaluation mode, without parameters that need gradients.
        inputs: batch first; a static program takes batches of their size alone.
        dynamic_batch: whether it takes batches of any size; None where it can.

    Returns:
        The program, and why it takes batches of one size alone; None if it takes any.

    Raises:
        RunError: the model can't be exported, or not for batches of any size.
    """
    model = _with_named_keywords(model, inputs)
    fixed = "it was asked for"
    if dynamic_batch is not False:
        try:
            return _any_batch(model, inputs), None
        except Exception as error:  # torch.export raises what it and the model's forward like
            fixed = f"torch.export says: {_reason(error)}"
            if dynamic_batch:
                raise RunError(
                    "the model can't be exported for batches of any size; try --static-batch. "
                    + fixed
                ) from error
    try:
        return _program(model, inputs, None), fixed
    except Exception as error:
        raise RunError(
            f"torch.export can't export {type(model).__name__}: {_reason(error)}"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings that exporters and torch give each other.

    Where a model can't be exported, torch also logs and prints all of it; the exception says why.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _program(model: nn.Module, inputs: ExampleInputs, shapes: Any) -> ExportedProgram:
    with quietly(), torch.no_grad():
        return torch.export.export(
            model, inputs.args, dict(inputs.kwargs), dynamic_shapes=shapes, strict=False
        )


def _any_batch(model: nn.Module, inputs: ExampleInputs) -> ExportedProgram:
    axis = BatchAxis.of(inputs)
    # Copies, as torch.export leaves marks on what it is given; and a size of 1 would be taken for
    # one that is always 1.
    rows = torch.arange(max(axis.size, 2)).clamp_max(axis.size - 1)
    inputs = axis.rows(inputs, rows)
    batched = iter(axis.batched)

    def of(leaf: Any) -> Any:
        return {0: Dim.DYNAMIC} if isinstance(leaf, Tensor) and next(batched) else None

    # As the signature names them: what goes into *args or **kwargs is a tuple or mapping of it.
    arguments = inspect.signature(model.forward).bind(*inputs.args, **inputs.kwargs).arguments
    program = _program(
        model, inputs, {name: pytree.tree_map(of, arguments[name]) for name in arguments}
    )
    _check_any_size(program)
    return program


def _check_any_size(program: ExportedProgram) -> None:
    """Make sure that nothing in the program depends on the size of the batch.

    Raises:
        ValueError: the forward goes this way for some sizes of a batch alone.
    """
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in program.graph_signature.user_inputs:
            continue
        value = node.meta.get("val")
        size: Any = value.shape[0] if isinstance(value, Tensor) and value.dim() else None
        if not isinstance(size, torch.SymInt):
            continue
        known = program.range_constraints.get(size.node.expr)
        # Without a bound it is infinite, which is no Integer of sympy's.
        if known is not None and (known.lower > 2 or known.upper.is_Integer):
            least = 1 if known.lower <= 2 else known.lower
            most = f"to {known.upper}" if known.upper.is_Integer else "or more"
            raise ValueError(f"the model computes so for batches of {least} {most} alone")


def _with_named_keywords(model: nn.Module, inputs: ExampleInputs) -> nn.Module:
    """The model with these keywords in its signature in the place of ``**kwargs``.

    torch's programs check sizes by the names of their arguments, and can't find those there.
    """
    signature = inspect.signature(model.forward)
    named = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    if len(named) == len(signature.parameters):
        return model
    known = {each.name for each in named}
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
        for name in inputs.kwargs
        if name not in known
    ]

    def forward(*args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    forward.__signature__ = signature.replace(parameters=[*named, *more])  # type: ignore[attr-defined]
    return with_forward(model, forward)


def _reason(error: Exception) -> str:
    """What an exception of torch.export says, on one line and without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    first = next(iter((*reasons, *lines)), repr(error))
    return first.split(" If you're using ")[0].rstrip(".")
