"""Which of a model's inputs have the batch as their first dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from accaware.pytorch.model.inputs import ExampleInputs, batch_size_of


@dataclass(frozen=True)
class BatchAxis:
    """Where the batch lies in an example's inputs.

    Attributes:
        size: of the example's batch, the first dimension of its first tensor.
        batched: for each tensor among the inputs, whether its first dimension is that long.
    """

    size: int
    batched: tuple[bool, ...]

    @classmethod
    def of(cls, example: ExampleInputs) -> BatchAxis:
        """The batch of an example: its size, and the tensors that have it."""
        tensors = example.tensors()
        size = batch_size_of(tensors)
        return cls(size, tuple(_has(tensor, size) for tensor in tensors))

    def samples(self, inputs: ExampleInputs) -> int:
        """How many samples a batch of inputs has."""
        return batch_size_of(inputs.tensors())

    def rows(self, inputs: ExampleInputs, rows: Tensor) -> ExampleInputs:
        """The inputs of some of the samples, in any order and number.

        Args:
            rows: (M,) integers.
        """
        batched, size = iter(self.batched), self.samples(inputs)
        return inputs.mapped(
            lambda tensor: tensor[rows] if next(batched, True) and _has(tensor, size) else tensor
        )

    def portions(self, inputs: ExampleInputs) -> Iterator[tuple[ExampleInputs, int]]:
        """The inputs in batches of the example's size, each with how many samples are new.

        The last sample is repeated where the last batch would be too small.
        """
        size = self.samples(inputs)
        if size == self.size:
            yield inputs, size
            return
        for begin in range(0, size, self.size):
            rows = torch.arange(begin, begin + self.size).clamp_max(size - 1)
            yield self.rows(inputs, rows), min(self.size, size - begin)


def _has(tensor: Tensor, size: int) -> bool:
    return bool(tensor.dim()) and len(tensor) == size
