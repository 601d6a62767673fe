"""Models out of files, fed with the tensors among their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.export.formats.format import LoadedModel
from accaware.pytorch.export.network.named_outputs import named_tensors
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.runtimes import Session


def runtime_model(session: Session) -> LoadedModel:
    """A session of an inference runtime, which takes and gives tensors in the place of arrays."""

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        arrays: dict[str | int, Any] = {
            position: tensor.numpy() for position, tensor in enumerate(inputs)
        }
        # Copied, as some runtimes hand out memory that the next run writes to.
        return [torch.as_tensor(array).clone() for array in session.run(arrays)]

    return run


def module_model(module: nn.Module, example: ExampleInputs) -> LoadedModel:
    """A module, whose other arguments are those of the example."""

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        tensors = iter(inputs)
        with torch.no_grad():
            outputs = example.mapped(lambda _: next(tensors)).call(module)
        return [tensor for _, tensor in named_tensors(outputs)]

    return run
