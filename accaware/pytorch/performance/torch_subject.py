"""A model in PyTorch itself, as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import tensors_in
from accaware.pytorch.state.checkpoint import file_size


class TorchSubject:
    """A model that torch runs, as it is.

    Args:
        model: in evaluation mode, on the inputs' device.
    """

    def __init__(self, model: nn.Module, inputs: ExampleInputs) -> None:
        self._model = model
        self._inputs = inputs
        self.file_size = file_size(model, {})

    def forward(self) -> object:
        """One forward without gradients, on the example inputs."""
        with torch.no_grad():
            return self._inputs.call(self._model)

    def peak_memory(self) -> int:
        """Of all tensors that are alive at once in a forward, the kernels' workspaces aside."""
        watch = _LiveTensors((*tensors_of(self._model).values(), *self._inputs.tensors()))
        with watch:
            self.forward()
        return watch.peak

    def convolutions(self) -> None:
        """None, as torch isn't profiled here."""
        return


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of tensors, from when an operation gives them until they are freed."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._live: dict[int, tuple[Any, int]] = {}
        self.peak = 0
        self._add(tensors)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self._live = {key: each for key, each in self._live.items() if not each[0].expired()}
        self._add(tensors_in(outputs))
        return outputs

    def _add(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            self._live[reference.cdata] = reference, storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
