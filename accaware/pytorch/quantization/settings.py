"""How a model is to be quantized, in values of which each says all that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from accaware.pytorch.model.scopes import Scopes

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RangeSettings:
    """How the range of an activation is found from samples of the training data.

    Attributes:
        type: mixed_min_max, min_max, mean_min_max, threesigma, percentile or mean_percentile.
        samples: how many to look at.
        min_percentile: lower end of the last two types, in percent of the values seen.
        max_percentile: upper end of the last two types, in percent of the values seen.
    """

    type: str
    samples: int
    min_percentile: float
    max_percentile: float


@dataclass(frozen=True, kw_only=True)
class WeightSettings:
    """How a layer's weight is quantized.

    Attributes:
        bits: of a value.
        symmetric: whether zero stands for zero; otherwise a zero point does.
        per_channel: whether each output channel has a range of its own.
    """

    bits: int
    symmetric: bool
    per_channel: bool


@dataclass(frozen=True, kw_only=True)
class ActivationSettings:
    """How an activation is quantized.

    Attributes:
        bits: of a value.
        symmetric: whether zero stands for zero; otherwise a zero point does.
        signed: whether a symmetric range has negative values; None to find out from the data.
        ranges: how its range is found, by the module that it is at.
        default_range: how it is found where none of ``ranges`` fits.
    """

    bits: int
    symmetric: bool
    signed: bool | None
    ranges: Sequence[tuple[Scopes, RangeSettings]]
    default_range: RangeSettings

    def range_at(self, module: str) -> RangeSettings:
        """The first range that fits the module; any fits the model itself, whose name is empty."""
        fitting = (
            found
            for scopes, found in self.ranges
            if not module or scopes.why_excluded(module) is None
        )
        return next(fitting, self.default_range)


@dataclass(frozen=True, kw_only=True)
class Scoped(Generic[T]):
    """The settings of all weights, or of all activations, by module.

    Attributes:
        scopes: the modules at which anything is quantized.
        general: the settings where no override fits.
        overrides: whole settings of their own, for the modules in a scope.
    """

    scopes: Scopes
    general: T
    overrides: Sequence[tuple[Scopes, T]] = ()

    def at(self, module: str) -> T:
        """The first override that fits the module; none fits the model itself."""
        fitting = (
            settings
            for scopes, settings in self.overrides
            if module and scopes.why_excluded(module) is None
        )
        return next(fitting, self.general)


@dataclass(frozen=True, kw_only=True)
class QuantizationSettings:
    """What is quantized in a model, and how.

    Attributes:
        scopes: the modules at which anything is quantized, weights or activations.
        quantize_inputs: whether what comes into the model is quantized too.
        quantize_outputs: whether what comes out of it is.
        quantize_embeddings: whether the weights of embeddings are.
        overflow_fix: whose weights of 8 bits leave one of them unused, so that sums of products
            can't overflow 16 bits: those of all layers ("enable"), of the first ones
            ("first_layer_only") or of none ("disable").
    """

    scopes: Scopes
    weights: Scoped[WeightSettings]
    activations: Scoped[ActivationSettings]
    quantize_inputs: bool
    quantize_outputs: bool
    quantize_embeddings: bool = False
    overflow_fix: str
