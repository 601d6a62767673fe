"""How far the outputs of two models are apart, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from accaware.errors import RunError

FLOAT_TOLERANCE = 1e-4
"""Of the largest difference, in units of the output's largest magnitude: float32 rounds by 6e-8 an
operation, and sums up in another order in each runtime."""

CANCELLED = 1e-3
"""An output that is this much smaller than the largest one, or more, may be the difference of
large numbers, and is allowed what an output of that magnitude is."""

QUANTIZED_TOLERANCE = 2.0
"""Of the difference's root mean square, in units of how far quantizing activations moves outputs.
A value in the midst of two integers goes to one in one runtime and to the other in another one,
and what comes after multiplies it; at worst, two runs of one model are apart like two independent
roundings, sqrt(2) of one."""

DISCRETE_TOLERANCE = 0.003
"""Of the elements of an output of integers or booleans, which differ where two are close to a tie;
beside twice as many as quantizing activations changes."""


@dataclass
class OutputDifference:
    """Of one output, over all samples that were shown.

    Attributes:
        elements: so many were compared that are finite in the reference.
        largest: the largest difference.
        largest_output: the largest magnitude of the reference.
        changed: elements of a discrete output that differ.
    """

    name: str
    discrete: bool
    elements: int = 0
    largest: float = 0.0
    largest_output: float = 0.0
    changed: int = 0
    _squares: float = 0.0
    _noise_changed: int = 0
    _noise_squares: float = 0.0

    def add(self, output: Tensor, reference: Tensor, unquantized: Tensor) -> None:
        """Add a batch: the file's output, the model's, and the unquantized model's."""
        finite = reference.isfinite()
        apart = _apart(output, reference)
        noise = _apart(unquantized, reference)
        if not reference.numel():
            return
        self.elements += int(finite.sum())
        self.largest = _larger(self.largest, float(apart.abs().max()))
        if finite.any():
            magnitude = float(reference[finite].double().abs().max())
            self.largest_output = max(self.largest_output, magnitude)
        self.changed += int((apart != 0).sum())
        self._noise_changed += int((noise != 0).sum())
        self._squares += float(apart.square().sum())
        self._noise_squares += float(noise.square().sum())

    def check(self, largest_output: float, place: str) -> None:
        """Make sure that the file computes what the model does, at this output.

        Args:
            largest_output: of all outputs.
            place: which of several outputs this is, for the message.

        Raises:
            RunError: they are further apart than float arithmetic and quantization explain.
        """
        if self.discrete:
            self._check_discrete(place)
            return
        unit = self.largest_output
        if unit < CANCELLED * largest_output:
            unit = CANCELLED * largest_output
        limit = FLOAT_TOLERANCE * max(unit, 1e-6)
        if self.largest <= limit:
            return
        if not self._noise_squares:
            raise RunError(
                f"its outputs differ from the model's by up to {self.largest:.3g}{place}; "
                f"{limit:.3g} is allowed"
            )
        apart = math.sqrt(self._squares / self._noise_squares)
        if not apart <= QUANTIZED_TOLERANCE:
            raise RunError(
                f"its outputs differ from the model's by {apart:.3g} times what quantizing its "
                f"activations does{place}; {QUANTIZED_TOLERANCE:g} times is allowed"
            )

    def _check_discrete(self, place: str) -> None:
        limit = DISCRETE_TOLERANCE * self.elements + QUANTIZED_TOLERANCE * self._noise_changed
        if self.changed > limit:
            raise RunError(
                f"{self.changed} of the {self.elements} integers that it gives differ from the "
                f"model's{place}; {int(limit)} may"
            )


@dataclass
class ExportDifference:
    """Between two models' outputs, over all samples that were shown.

    Attributes:
        samples: so many.
        same_top1: samples whose largest output is the same one, where the first output is (N, K).
        outputs: of each.
    """

    samples: int = 0
    same_top1: int | None = None
    outputs: list[OutputDifference] = field(default_factory=list)

    @property
    def largest(self) -> float:
        """The largest difference of two outputs."""
        largest = 0.0
        for output in self.outputs:
            largest = _larger(largest, output.largest)
        return largest

    @property
    def largest_output(self) -> float:
        """The largest magnitude of the reference's outputs."""
        return max((output.largest_output for output in self.outputs), default=0.0)

    @property
    def other_top1(self) -> int | None:
        """Samples whose largest output is another one."""
        return None if self.same_top1 is None else self.samples - self.same_top1

    def add(
        self,
        outputs: Sequence[Tensor],
        references: Sequence[tuple[str, Tensor]],
        unquantized: Sequence[Tensor],
        samples: int,
    ) -> None:
        """Add a batch's outputs.

        Args:
            outputs: of the file.
            references: of the model, with their names.
            unquantized: of the model with no activation quantized.
            samples: in this batch.

        Raises:
            RunError: there are other outputs than there should be.
        """
        shapes = [list(tensor.shape) for tensor in outputs]
        expected = [list(tensor.shape) for _, tensor in references]
        if shapes != expected:
            raise RunError(f"its outputs have the shapes {shapes}, and the model's {expected}")
        if not self.outputs:
            self.outputs = [
                OutputDifference(name, not (one.is_floating_point() or one.is_complex()))
                for name, one in references
            ]
        if len(self.outputs) != len(references):
            raise RunError(
                f"the model gave {len(self.outputs)} tensors for one batch and "
                f"{len(references)} for another"
            )
        for known, output, (_, reference), exact in zip(
            self.outputs, outputs, references, unquantized, strict=True
        ):
            known.add(output, reference, exact)
        if references:
            self._add_top1(outputs[0], references[0][1])
        self.samples += samples

    def check(self) -> None:
        """Make sure that the file computes what the model does, at all outputs.

        Raises:
            RunError: they are further apart than float arithmetic and quantization explain, or
                nothing was compared.
        """
        if not any(output.elements for output in self.outputs):
            raise RunError("none of its outputs is a finite number, so that nothing was compared")
        for output in self.outputs:
            output.check(self.largest_output, f" at {output.name}" if len(self.outputs) > 1 else "")

    def _add_top1(self, output: Tensor, reference: Tensor) -> None:
        if reference.dim() == 2 and reference.shape[1] > 1 and reference.is_floating_point():
            same = output.argmax(1) == reference.argmax(1)
            self.same_top1 = (self.same_top1 or 0) + int(same.sum())


def _apart(output: Tensor, reference: Tensor) -> Tensor:
    """Their difference; 0 where both are the same infinity, or no number."""
    kind = torch.complex128 if reference.is_complex() else torch.double
    output, reference = output.to(kind), reference.to(kind)
    same = (output == reference) | (output.isnan() & reference.isnan())
    return torch.where(same, 0.0, (output - reference).abs())


def _larger(one: float, other: float) -> float:
    """The larger one; NaN where one of them is that."""
    return other if math.isnan(other) or other > one else one
