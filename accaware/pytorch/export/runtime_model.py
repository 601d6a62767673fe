"""A session of an inference runtime, fed with tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from accaware.pytorch.export.formats import LoadedModel
from accaware.runtimes import Session


def runtime_model(session: Session) -> LoadedModel:
    """The session, which takes and gives tensors in the place of arrays."""

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        arrays: dict[str | int, Any] = {
            position: tensor.numpy() for position, tensor in enumerate(inputs)
        }
        # Copied, as some runtimes hand out memory that the next run writes to.
        return [torch.as_tensor(array).clone() for array in session.run(arrays)]

    return run
