"""Quantizers: they map a tensor to the few values that integers with a scale can stand for.

A value is ``scale * (q - zero_point)`` with an integer q from ``low`` to ``high``. In training the
gradient passes through as if nothing had been quantized, and stops where a value was cut off at an
end of the range (Jacob et al., 2018, section 3).

Ranges are observed, not trained. A weight's range is its own largest magnitude at each step: it
follows the layout when filters come and go, and needs no state and no learning rate. An
activation's is measured on training data at each new rate and stays while the model is trained,
so that training has a fixed target. A trained range (Esser et al., "Learned Step Size
Quantization", 2020) would be moved by the user's optimizer, whose learning rate was chosen for
weights: Adam moves a range of 0.01 by a multiple of itself within a few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from accaware.errors import UsageError

_LEAST = float(torch.finfo(torch.float32).tiny) ** 0.5
"""The least scale, for tensors of zeros: its inverse is finite, and so is its square's."""


@dataclass(frozen=True)
class Integers:
    """A tensor as integers: ``scale * (values - zero_point)``.

    Attributes:
        values: int8, of the tensor's shape.
        scale: (C,) one for each channel, or () one for all.
        zero_point: int8 of the scale's shape.
    """

    values: Tensor
    scale: Tensor
    zero_point: Tensor


@dataclass
class WeightQuantizer:
    """Quantizes a layer's weight.

    Attributes:
        bits: of a value.
        low: the least integer. With a symmetric range it is minus ``high``, so that a weight and
            its negative, as folding a batch norm may make it, are both there.
        high: the greatest integer.
        axis: the dimension whose channels have ranges of their own; None for one range.
        symmetric: whether zero stands for zero; otherwise the zero point does.
        scale: (C,) or () float; None to follow the weight.
        zero_point: int32, of the scale's shape; None to follow the weight.
    """

    bits: int
    low: int
    high: int
    axis: int | None
    symmetric: bool
    scale: Tensor | None = None
    zero_point: Tensor | None = None

    @classmethod
    def of(
        cls, bits: int, *, symmetric: bool, axis: int | None, half_range: bool
    ) -> WeightQuantizer:
        """A quantizer of so many bits, whose scale follows the weight.

        Args:
            half_range: leave one bit unused, so that sums of products can't overflow 16 bits.
        """
        high = 2 ** (bits - 1) - 1
        low = -high if symmetric else -high - 1
        if half_range:
            low, high = -(-low // 2), high // 2
        return cls(bits, low, high, axis, symmetric)

    def __call__(self, weight: Tensor) -> Tensor:
        """The quantized weight, through which gradients pass."""
        scale, zero_point = self.parameters(weight)
        if self.axis is None:
            return torch.fake_quantize_per_tensor_affine(
                weight, scale, zero_point, self.low, self.high
            )
        return torch.fake_quantize_per_channel_affine(
            weight, scale, zero_point, self.axis, self.low, self.high
        )

    def parameters(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point for this weight."""
        if self.scale is not None and self.zero_point is not None:
            return self.scale.to(weight.device), self.zero_point.to(weight.device)
        # Torch rounds tensors of any precision by scales of single precision.
        weight = weight.detach().float()
        rows = weight.flatten() if self.axis is None else weight.transpose(0, self.axis).flatten(1)
        least, most = rows.amin(-1), rows.amax(-1)
        if self.symmetric:
            scale = self._symmetric_scale(rows, torch.maximum(most, -least))
            return scale, torch.zeros_like(scale, dtype=torch.int32)
        least, most = least.clamp_max(0), most.clamp_min(0)
        scale = ((most - least) / (self.high - self.low)).clamp_min(_LEAST)
        zero_point = (self.low - least / scale).round().clamp(self.low, self.high)
        return scale, zero_point.to(torch.int32)

    def integers(self, weight: Tensor) -> Integers:
        """The integers that stand for the quantized weight."""
        weight = weight.detach()
        scale, zero_point = self.parameters(weight)
        shape = [1] * weight.dim()
        if self.axis is not None:
            shape[self.axis] = -1
        values = torch.round(self(weight) / scale.view(shape)) + zero_point.view(shape)
        return Integers(values.to(torch.int8), scale, zero_point.to(torch.int8))

    def range(self, weight: Tensor) -> tuple[float, float]:
        """The least and the greatest value that a quantized weight can have, over all channels."""
        scale, zero_point = self.parameters(weight)
        least, most = scale * (self.low - zero_point), scale * (self.high - zero_point)
        return float(least.min()), float(most.max())

    def _symmetric_scale(self, rows: Tensor, largest: Tensor) -> Tensor:
        """The largest magnitude at the end of the range, or less where there are few bits.

        With few bits the largest magnitude would leave nearly all weights at zero. The other
        candidate is the start that Esser et al. (2020, section 2.1) found good,
        2 mean|w| / sqrt(high), of those weights that aren't zero; with 8 bits it is never the
        smaller one, and the range holds every weight.
        """
        scale = largest / self.high
        if self.bits < 8:
            count = rows.count_nonzero(-1).clamp_min(1)
            typical = 2 * rows.abs().sum(-1) / count / self.high**0.5
            scale = torch.minimum(scale, typical)
        return scale.clamp_min(_LEAST)


@dataclass
class ActivationQuantizer:
    """Quantizes the tensor that goes into a module or comes out of it, once its range is measured.

    Attributes:
        module: the module's name; empty for the model itself.
        side: "input", the first positional argument, or "output".
        bits: of a value.
        symmetric: whether the zero point is fixed: at 0, where no value is negative at the least
            integer.
        signed: whether a symmetric range has negative values; None to find out from the data.
        low: the least integer, once measured.
        high: the greatest integer, once measured.
        scale: None until measured.
        zero_point: an integer that stands for 0.
        observer: while there is one, it is shown each tensor, and nothing is quantized.
    """

    module: str
    side: str
    bits: int
    symmetric: bool
    signed: bool | None = None
    low: int = 0
    high: int = 0
    scale: float | None = None
    zero_point: int = 0
    observer: Callable[[Tensor], None] | None = field(default=None, repr=False)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The quantized tensor, through which gradients pass.

        Raises:
            UsageError: its range was never measured.
        """
        if self.scale is None:
            raise UsageError(f"the range of the activations at {self.name} was never measured")
        return torch.fake_quantize_per_tensor_affine(
            tensor, self.scale, self.zero_point, self.low, self.high
        )

    @property
    def name(self) -> str:
        """The module and the side of it, as messages and files say it."""
        return f"{self.module} {self.side}".strip()

    @property
    def range(self) -> tuple[float, float] | None:
        """The values at both ends; None until measured."""
        if self.scale is None:
            return None
        return (
            self.scale * (self.low - self.zero_point),
            self.scale * (self.high - self.zero_point),
        )

    def fit(self, least: float, most: float) -> None:
        """Cover the values from ``least`` to ``most``, and zero in any case."""
        least, most = min(least, 0.0), max(most, 0.0)
        levels = 2**self.bits
        signed = least < 0 if self.signed is None else self.signed
        if self.symmetric and signed:
            self.low, self.high = -levels // 2, levels // 2 - 1
            self.scale = max(-least / -self.low, most / self.high, _LEAST)
            self.zero_point = 0
            return
        self.low, self.high = 0, levels - 1
        if self.symmetric:
            self.scale, self.zero_point = max(most / self.high, _LEAST), 0
            return
        self.scale = max((most - least) / self.high, _LEAST)
        self.zero_point = min(max(round(-least / self.scale), 0), self.high)
