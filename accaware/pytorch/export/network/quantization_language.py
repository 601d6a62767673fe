"""Quantization written out in a deployed model: stored integers, and steps that say integer.

Training quantizes with torch's fake-quantize operators, which no exporter takes. A deployed model
stores the integers of its weights and goes through integers at each quantized activation, in one of
two languages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor, nn

from accaware.pytorch.quantization.quantizers import ActivationQuantizer, Integers


class Language(Protocol):
    """How quantization is written down."""

    def activation(self, tensor: Tensor, quantizer: ActivationQuantizer) -> Tensor:
        """The quantized tensor."""

    def stored(
        self, integers: Integers, axis: int, bias: Tensor | None, input_scale: float
    ) -> Integers:
        """The integers that are stored of a weight; they stand for the same values.

        Args:
            axis: the dimension whose channels have scales of their own.
            bias: the layer's, (C,).
            input_scale: the least that the layer's input may have.
        """

    def weight(self, integers: Integers, axis: int) -> Tensor:
        """The float weight that integers stand for."""


class QuantizeDequantize:
    """Pairs of ONNX's own QuantizeLinear and DequantizeLinear; for its exporter alone.

    Runtimes look for just these around a convolution to run it with integers. In torch they are
    placeholders: what they give has the right shape, and no values.
    """

    def activation(self, tensor: Tensor, quantizer: ActivationQuantizer) -> Tensor:
        """The tensor through the pair, cut off before it where bits are fewer than 8."""
        assert quantizer.scale is not None
        assert quantizer.range is not None
        kind = torch.uint8 if quantizer.low >= 0 else torch.int8
        ends = torch.iinfo(kind)
        if (quantizer.low, quantizer.high) != (ends.min, ends.max):
            # ONNX's operator knows whole bytes only; cut off before it, fewer bits are the same.
            tensor = tensor.clamp(*quantizer.range)
        scale = torch.tensor(quantizer.scale, dtype=tensor.dtype)
        zero_point = torch.tensor(quantizer.zero_point, dtype=kind)
        integers = torch.onnx.ops.symbolic(
            "QuantizeLinear", (tensor, scale, zero_point), dtype=kind, shape=tensor.shape
        )
        return self._dequantized(integers, scale, zero_point, {})

    def stored(
        self, integers: Integers, axis: int, bias: Tensor | None, input_scale: float
    ) -> Integers:
        """Integers by whose steps a runtime can round the bias, if there is one."""
        return integers if bias is None else _for_bias(integers, axis, bias, input_scale)

    def weight(self, integers: Integers, axis: int) -> Tensor:
        """The stored integers through DequantizeLinear, a scale for each channel along ``axis``."""
        return self._dequantized(
            integers.values, integers.scale, integers.zero_point, {"axis": axis}
        )

    def _dequantized(
        self, integers: Tensor, scale: Tensor, zero_point: Tensor, attributes: dict[str, int]
    ) -> Tensor:
        return torch.onnx.ops.symbolic(
            "DequantizeLinear",
            (integers, scale, zero_point),
            dict(attributes),
            dtype=scale.dtype,
            shape=integers.shape,
        )


class BasicOperators:
    """Torch's basic operators alone: such a program loads wherever torch is."""

    def activation(self, tensor: Tensor, quantizer: ActivationQuantizer) -> Tensor:
        """Divided by the scale, rounded, cut off, and multiplied again."""
        assert quantizer.scale is not None
        steps = (tensor * (1 / quantizer.scale)).round() + quantizer.zero_point
        return (steps.clamp(quantizer.low, quantizer.high) - quantizer.zero_point) * quantizer.scale

    def stored(
        self, integers: Integers, axis: int, bias: Tensor | None, input_scale: float
    ) -> Integers:
        """The integers as they are: here a bias stays a float."""
        return integers

    def weight(self, integers: Integers, axis: int) -> Tensor:
        """The integers less their zero points, times the scales along ``axis``."""
        shape = [1] * integers.values.dim()
        shape[axis] = -1
        scale = integers.scale.view(shape)
        return (integers.values.to(scale.dtype) - integers.zero_point.view(shape)) * scale


_FITS_16_BITS = 64
"""Two products of a byte and an integer up to this one: 2 x 255 x 64 < 2 ** 15. Processors without
dot products of bytes add these in 16 bits."""

_BIAS_END = 2.0**30
"""The largest integer that a bias may become; the products that it is added to need room as well,
and have just as much."""


def _for_bias(integers: Integers, axis: int, bias: Tensor, input_scale: float) -> Integers:
    """The same weight in steps that are neither too coarse nor too fine for its layer's bias.

    A runtime that computes in integers, as onnxruntime does, makes a bias one of 32 bits, in steps
    of an input's times a weight's (Jacob et al., 2018, section 2.4). The steps of a weight of few
    bits are so coarse that little is left of the bias: a power of two makes finer ones, exactly.
    Those of a channel whose weights are zero, or all but, are so fine that its bias overflows.
    """
    values, scale, zero_point = integers.values, integers.scale, integers.zero_point
    largest = max(int(values.int().abs().max()), int(zero_point.int().abs().max()), 1)
    finer = 2 ** max(int(math.log2(_FITS_16_BITS / largest)), 0)
    values, scale, zero_point = values * finer, scale / finer, zero_point * finer
    least = bias.abs().to(scale.dtype) / (input_scale * _BIAS_END)
    if (scale < least).any():
        shape = [1] * values.dim()
        shape[axis] = -1
        coarser = torch.maximum(scale, least)
        zero = zero_point.view(shape)
        steps = (values - zero) * (scale / coarser).view(shape)
        values, scale = (steps.round() + zero).to(values.dtype), coarser
    return Integers(values, scale, zero_point)


@dataclass(kw_only=True)
class WrittenActivation(ActivationQuantizer):
    """An activation's quantizer that speaks a language."""

    language: Language

    @classmethod
    def of(cls, quantizer: ActivationQuantizer, language: Language) -> WrittenActivation:
        """The same quantizer, which writes itself in ``language``."""
        same = {one.name: getattr(quantizer, one.name) for one in fields(quantizer)}
        return cls(**same, language=language)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The quantized tensor, as its language writes it."""
        if self.scale is None:
            return super().__call__(tensor)  # says what is missing
        return self.language.activation(tensor, self)


def store_integers(
    layer: nn.Module, key: str, integers: Integers, axis: int, language: Language
) -> None:
    """Let the layer hold int8 in place of its float weight, which each forward makes of them.

    Args:
        key: what the layer calls its weight.
    """
    del layer._parameters[key]
    layer.register_buffer(f"{key}_integers", integers.values)
    layer.register_buffer(f"{key}_scale", integers.scale)
    layer.register_buffer(f"{key}_zero_point", integers.zero_point)
    hooks = _StoredWeight(key, axis, language)
    layer.register_forward_pre_hook(hooks.before)
    layer.register_forward_hook(hooks.after, always_call=True)


@dataclass
class _StoredWeight:
    key: str
    axis: int
    language: Language

    def before(self, layer: nn.Module, args: object) -> None:
        integers = Integers(
            layer.get_buffer(f"{self.key}_integers"),
            layer.get_buffer(f"{self.key}_scale"),
            layer.get_buffer(f"{self.key}_zero_point"),
        )
        layer.__dict__[self.key] = self.language.weight(integers, self.axis)

    def after(self, layer: nn.Module, args: object, output: object) -> None:
        layer.__dict__.pop(self.key, None)
