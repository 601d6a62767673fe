"""What is reported of the model that a run hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accaware.results.exports import ExportInfo
from accaware.results.latency import LatencyComparison
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """The model against the dense one.

    Attributes:
        layers: each of them, in the order of the network; empty where an earlier accaware wrote it.
        latency: None where it wasn't measured.
        exports: files that were made of it when the run ended.
    """

    sizes: ModelSizes
    layers: Sequence[LayerSizes] = ()
    quantizers: Sequence[QuantizerInfo] = ()
    latency: LatencyComparison | None = None
    exports: Sequence[ExportInfo] = ()
