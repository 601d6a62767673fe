"""What every compression algorithm offers the controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer

from accaware.pytorch.channels.layout import ExcludedLayer, KeptMasks


class CompressionAlgorithm(Protocol):
    """Brings a model to a compression rate, and back. Rates are fractions in [0, 1]."""

    @property
    def name(self) -> str:
        """As the config calls it."""

    @property
    def compression_rate(self) -> float:
        """What is achieved now, measured on the model's own tensors."""

    @property
    def maximal_compression_rate(self) -> float:
        """The highest rate that the model can reach."""

    @property
    def excluded(self) -> Sequence[ExcludedLayer]:
        """Layers that stay as they are, each with its reason."""

    def set_rate(self, target: float, optimizers: Iterable[Optimizer]) -> None:
        """Compress to ``target`` as nearly as the model allows; rate 0 restores it whole."""

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer]) -> None:
        """Compress as the schedules say, of which there is one for each level.

        An algorithm with one schedule takes its level for the rate.
        """

    def attach(self, optimizer: Optimizer) -> None:
        """Called once for an optimizer before it steps."""

    def dense_tensors(self) -> Mapping[str, Tensor]:
        """The dense form of every tensor that is compressed, trained values included."""

    def state_dict(self) -> dict[str, Any]:
        """What was chosen to stay, and what the rest was.

        With the model's own tensors it is all there is to know.
        """

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Give the model the shapes that it had when ``state_dict`` was taken.

        Args:
            tensors: the model's own, of that moment; the caller copies them into it afterwards.
        """

    def kept_masks(self) -> KeptMasks:
        """What is kept of each tensor that has lost some of its shape."""

    def describe(self) -> str:
        """One or two lines on what is compressed and how far."""

    def warnings(self) -> Sequence[str]:
        """What the user should know of how the model is compressed now."""
