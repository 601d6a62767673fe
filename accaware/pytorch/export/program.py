"""A model as the program that torch.export makes of it."""

from __future__ import annotations

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
from accaware.pytorch.inputs import ExampleInputs


def exported_program(
    model: nn.Module, inputs: ExampleInputs, dynamic_batch: bool | None
) -> tuple[ExportedProgram, bool]:
    """
    Args:
        model: in evaluation mode, without parameters that need gradients.
        inputs: batch first; a static program takes batches of their size alone.
        dynamic_batch: whether it takes batches of any size; None where it can.

    Returns:
        The program, and whether it does.

    Raises:
        RunError: the model can't be exported, or not for batches of any size.
    """
    if dynamic_batch is not False:
        try:
            return _program(model, inputs.mapped(_at_least_two), _any_batch(inputs)), True
        except Exception as error:  # torch.export raises what it and the model's forward like
            if dynamic_batch:
                raise RunError(
                    "the model can't be exported for batches of any size; try --static-batch. "
                    f"torch.export says: {_first_line(error)}"
                ) from error
    try:
        return _program(model, inputs, None), False
    except Exception as error:
        raise RunError(
            f"torch.export can't export {type(model).__name__}: {_first_line(error)}"
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


def _at_least_two(tensor: Tensor) -> Tensor:
    """torch.export takes a size of 1 for one that is always 1."""
    return torch.cat([tensor, tensor]) if tensor.dim() and len(tensor) == 1 else tensor


def _any_batch(inputs: ExampleInputs) -> tuple[Any, ...]:
    def of(leaf: Any) -> Any:
        return {0: Dim.DYNAMIC} if isinstance(leaf, Tensor) and leaf.dim() else None

    return tuple(pytree.tree_map(of, [*inputs.args, *inputs.kwargs.values()]))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
