"""What became of each layer."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.results.sizes import Size


@dataclass(frozen=True, kw_only=True)
class LayerSizes:
    """A layer with parameters, dense and compressed.

    Attributes:
        kind: its class.
        filters: output channels, of a layer that filters are counted of; else None.
        parameters: its own, without those of layers within it; shared ones count once.
        nonzero_parameters: those of them that aren't zero.
        flops: of one forward pass over one sample, as far as they come from its weights.
    """

    name: str
    kind: str
    filters: Size | None
    parameters: Size
    nonzero_parameters: Size
    flops: Size
