"""How long a model takes, dense and compressed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds of one forward of a batch.

    Attributes:
        median: of all that were timed.
        lower_quartile, upper_quartile: half of them lie between these.
        forwards: that were timed.
    """

    median: float
    lower_quartile: float
    upper_quartile: float
    forwards: int


@dataclass(frozen=True, kw_only=True)
class LatencyComparison:
    """The dense model's latency and the compressed one's, timed in turn.

    Attributes:
        runtime: pytorch, onnxruntime or openvino.
        version: of the runtime.
        threads: that one forward may use.
        batch: samples of a forward.
        simulated: the compressed model's integers are simulated in floats, which takes longer
            than the floats alone: not what it takes where it ships.
    """

    runtime: str
    version: str
    device: str
    threads: int
    batch: int
    simulated: bool
    dense: Latency
    compressed: Latency
