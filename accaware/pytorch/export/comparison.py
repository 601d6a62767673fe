"""Whether an exported file computes what the model in memory does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.errors import RunError
from accaware.pytorch.batches import batch_size_of
from accaware.pytorch.export.formats import LoadedModel
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import attached_to
from accaware.pytorch.wrappers import StandIn

FLOAT_TOLERANCE = 1e-4
"""Of the largest difference, in units of the largest output: float32 rounds by 6e-8 an operation,
and sums up in another order in each runtime."""

ROUNDED_TOLERANCE = 2.0
"""Of the difference's root mean square, in units of how far rounding activations moves outputs.
A value in the midst of two integers goes to one in one runtime and to the other in another one,
and what comes after multiplies it; at worst, two runs of one model are apart like two independent
roundings, sqrt(2) of one."""

METRIC_TOLERANCE = 0.003
"""Of the metric's own magnitude, beside what a single sample counts for."""


@dataclass
class Difference:
    """Between two models' outputs, over all samples that were shown.

    Attributes:
        samples: so many.
        largest: the largest difference of two outputs.
        largest_output: the largest magnitude of the reference's outputs.
        same_top1: samples whose largest output is the same one, where outputs are (N, K).
    """

    samples: int = 0
    largest: float = 0.0
    largest_output: float = 0.0
    same_top1: int | None = None
    _squares: float = 0.0
    _noise_squares: float = 0.0

    def add(
        self,
        outputs: list[Tensor],
        references: list[Tensor],
        unrounded: list[Tensor],
        samples: int,
    ) -> None:
        """
        Args:
            outputs: of the file.
            references: of the model.
            unrounded: of the model with no activation rounded.
            samples: in this batch.

        Raises:
            RunError: there are other outputs than there should be.
        """
        shapes = [list(tensor.shape) for tensor in outputs]
        expected = [list(tensor.shape) for tensor in references]
        if shapes != expected:
            raise RunError(f"its outputs have the shapes {shapes}, and the model's {expected}")
        for output, reference, exact in zip(outputs, references, unrounded, strict=True):
            if not reference.numel():
                continue
            apart = output.double() - reference.double()
            self.largest = _larger(self.largest, float(apart.abs().max()))
            self.largest_output = _larger(self.largest_output, float(reference.abs().max()))
            self._squares += float(apart.square().sum())
            self._noise_squares += float((reference.double() - exact.double()).square().sum())
        if references and references[0].dim() == 2 and references[0].shape[1] > 1:
            same = outputs[0].argmax(1) == references[0].argmax(1)
            self.same_top1 = (self.same_top1 or 0) + int(same.sum())
        self.samples += samples

    def check(self) -> None:
        """
        Raises:
            RunError: they are further apart than float arithmetic and rounding explain.
        """
        limit = FLOAT_TOLERANCE * max(self.largest_output, 1e-6)
        if self.largest <= limit:
            return
        if not self._noise_squares:
            raise RunError(
                f"its outputs differ from the model's by up to {self.largest:.3g}; "
                f"{limit:.3g} is allowed"
            )
        apart = math.sqrt(self._squares / self._noise_squares)
        if not apart <= ROUNDED_TOLERANCE:
            raise RunError(
                f"its outputs differ from the model's by {apart:.3g} times what rounding its "
                f"activations does; {ROUNDED_TOLERANCE:g} times is allowed"
            )


def check_metric(metric: float, reference: float, samples: int) -> None:
    """
    Raises:
        RunError: the metrics are further apart than rounding explains.
    """
    limit = abs(reference) * (METRIC_TOLERANCE + 1 / max(samples, 1))
    if not abs(metric - reference) <= limit:
        raise RunError(
            f"its metric is {metric:.6g}, the model's {reference:.6g}; a difference of "
            f"{limit:.3g} is allowed"
        )


class Compared(StandIn):
    """Answers in place of the model with what its file computes, and notes how far that is off.

    Args:
        model: on the CPU, in evaluation mode.
        loaded: its file.
        batch: how many samples the file takes at once; None for any number.
    """

    def __init__(self, model: nn.Module, loaded: LoadedModel, batch: int | None) -> None:
        super().__init__()
        self.model = model
        self.difference = Difference()
        self._loaded = loaded
        self._batch = batch

    def forward(self, *args: object, **kwargs: object) -> object:
        inputs = ExampleInputs(args, kwargs)
        device = next((leaf.device for leaf in _tensors((args, kwargs))), torch.device("cpu"))
        inputs = inputs.on(torch.device("cpu"))
        reference, unrounded = self._references(inputs)
        given = _tensors((inputs.args, dict(inputs.kwargs)))
        outputs = self._run(given, batch_size_of(given))
        self.difference.add(outputs, _tensors(reference), unrounded, batch_size_of(given))
        answers = iter(output.to(device) for output in outputs)
        return pytree.tree_map_only(Tensor, lambda _: next(answers), reference)

    def _references(self, inputs: ExampleInputs) -> tuple[object, list[Tensor]]:
        """The model's outputs, and the tensors among those without rounded activations."""
        quantizers = attached_to(self.model)
        with torch.no_grad():
            reference = inputs.call(self.model.eval())
            if quantizers is None or not quantizers.active:
                return reference, _tensors(reference)
            quantizers.active = False
            try:
                return reference, _tensors(inputs.call(self.model))
            finally:
                quantizers.active = True

    def _run(self, tensors: list[Tensor], size: int) -> list[Tensor]:
        """The file's outputs; where it takes so many samples alone, in portions."""
        if self._batch is None:
            return self._loaded(tensors)
        portions = []
        for begin in range(0, size, self._batch):
            rows = torch.arange(begin, begin + self._batch).clamp_max(size - 1)
            portions.append(self._loaded([tensor[rows] for tensor in tensors]))
        return [torch.cat(parts)[:size] for parts in zip(*portions, strict=True)]


def _tensors(structure: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, Tensor)]


def _larger(one: float, other: float) -> float:
    """The larger one; NaN where one of them is that."""
    return other if math.isnan(other) or other > one else one
