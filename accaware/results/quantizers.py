"""What a quantizer is, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class QuantizerInfo:
    """One quantizer of a model.

    Attributes:
        place: the tensor that it quantizes: ``conv1.weight``, ``layer1.0 output``.
        bits: of a value.
        mode: symmetric or asymmetric.
        granularity: "tensor" for one range, or "channel" for one of each output channel.
        range: the least and the greatest value, over all channels; None until measured.
    """

    place: str
    bits: int
    mode: str
    granularity: str
    range: tuple[float, float] | None

    def to_str(self) -> str:
        """One line for a log."""
        ends = "" if self.range is None else f", {self.range[0]:.4g} to {self.range[1]:.4g}"
        return f"{self.place}: {self.bits} bits, {self.mode}, a range a {self.granularity}{ends}"
