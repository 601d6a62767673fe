"""Whether an exported file computes what the model in memory does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import RunError
from accaware.pytorch.export.comparison.difference import ExportDifference
from accaware.pytorch.export.formats.format import LoadedModel
from accaware.pytorch.export.network.batch_axis import BatchAxis
from accaware.pytorch.export.network.named_outputs import named_tensors, with_tensors
from accaware.pytorch.export.network.stand_in import with_forward
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import attached_to
from accaware.pytorch.training.mixed_precision import full_precision
from accaware.wording import first_line


class Compared:
    """Answers in place of the model with what its file computes, and notes how far that is off.

    Both compute in full precision, whether or not autocast is entered around.

    Args:
        model: on the CPU, in evaluation mode.
        loaded: its file.
        batch: of the example.
        any_batch: whether the file takes any number of samples at once; if not, it and the model
            are given batches of the example's size.
        original: the model as the user has it; ``stand_in`` has its parts.

    Attributes:
        stand_in: the user's model with the file's forward, of the same class and with the same
            parts, for code that looks at these or uses them.
    """

    def __init__(
        self,
        model: nn.Module,
        loaded: LoadedModel,
        batch: BatchAxis,
        *,
        any_batch: bool,
        original: nn.Module,
    ) -> None:
        self.difference = ExportDifference()
        self.stand_in = with_forward(original, self)
        self._model = model
        self._loaded = loaded
        self._batch = batch
        self._any_batch = any_batch

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """The file's outputs, in the model's structure and on the inputs' device.

        Raises:
            RunError: the file can't be run on these, or has other outputs than the model.
        """
        inputs = ExampleInputs(args, kwargs)
        device = next((leaf.device for leaf in inputs.tensors()), torch.device("cpu"))
        inputs = inputs.on(torch.device("cpu"))
        size = self._batch.samples(inputs)
        portions = [(inputs, size)] if self._any_batch else [*self._batch.portions(inputs)]
        with torch.no_grad(), full_precision():
            answers = [self._compared(portion, samples) for portion, samples in portions]
        structure, tensors = _joined(answers, size)
        return with_tensors(structure, (tensor.to(device) for tensor in tensors))

    def _compared(self, inputs: ExampleInputs, samples: int) -> tuple[Any, list[Tensor]]:
        """The model's outputs of one batch, and the file's, of so many samples."""
        reference, unquantized = self._references(inputs)
        try:
            outputs = self._loaded(inputs.tensors())
        except Exception as error:  # each runtime has exceptions of its own
            reason = first_line(error, repr(error))
            raise RunError(f"it doesn't run on a batch of {samples}: {reason}") from error
        expected = named_tensors(reference)
        size = self._batch.samples(inputs)

        def cut(tensor: Tensor) -> Tensor:
            return tensor[:samples] if tensor.dim() and len(tensor) == size else tensor

        found = [cut(tensor) for tensor in outputs]
        self.difference.add(
            found,
            [(name, cut(tensor)) for name, tensor in expected],
            [cut(tensor) for tensor in unquantized],
            samples,
        )
        kinds = (tensor.dtype for _, tensor in expected)
        return reference, [tensor.to(kind) for tensor, kind in zip(found, kinds, strict=True)]

    def _references(self, inputs: ExampleInputs) -> tuple[object, list[Tensor]]:
        """The model's outputs, and the tensors among those without quantized activations."""
        quantizers = attached_to(self._model)
        reference = inputs.call(self._model.eval())
        if quantizers is None or not quantizers.active:
            return reference, [tensor for _, tensor in named_tensors(reference)]
        quantizers.active = False
        try:
            return reference, [tensor for _, tensor in named_tensors(inputs.call(self._model))]
        finally:
            quantizers.active = True


def _joined(answers: list[tuple[Any, list[Tensor]]], size: int) -> tuple[Any, list[Tensor]]:
    """The answers to all portions as those to one batch of that size.

    An output without a batch, such as anchors, is the first portion's.
    """
    structure, first = answers[0]
    parts = zip(*(tensors for _, tensors in answers), strict=True)
    return structure, [
        torch.cat(each) if one.dim() and sum(map(len, each)) == size else one
        for one, each in zip(first, parts, strict=True)
    ]
