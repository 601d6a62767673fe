"""Quantization without another algorithm: its one level is all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from accaware.pytorch.channels.layout import ExcludedLayer, KeptMasks
from accaware.pytorch.quantization.quantization import Quantization


class QuantizationAlone:
    """The compression algorithm of a config that quantizes and does nothing else.

    The compression rate is the share of the bits of all parameters that is saved. It is reached
    at once; any target above zero asks for it.
    """

    name = "quantization"

    def __init__(self, quantization: Quantization) -> None:
        self._quantization = quantization
        self.maximal_compression_rate = quantization.saved_bits
        self.excluded: Sequence[ExcludedLayer] = ()

    @property
    def compression_rate(self) -> float:
        """The share of bits that quantization saves, once it is active."""
        return self._quantization.saved_bits if self._quantization.active else 0.0

    def set_rate(self, target: float, optimizers: Iterable[Optimizer] = ()) -> None:
        """Nothing to do: the controller switches the quantizers."""

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer] = ()) -> None:
        """Nothing to do, likewise."""

    def attach(self, optimizer: Optimizer) -> None:
        """Nothing to do: no tensor changes its shape or is held at zero."""

    def dense_tensors(self) -> Mapping[str, Tensor]:
        """None: no tensor loses anything of its shape."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Empty: the quantizers keep their own state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Nothing to do: every tensor is the model's own."""

    def kept_masks(self) -> KeptMasks:
        """None: no tensor loses anything of its shape."""
        return {}

    def describe(self) -> str:
        """What stands in the place of an algorithm's line."""
        return "quantization alone"

    def warnings(self) -> Sequence[str]:
        """None: there is nothing to choose."""
        return ()
