"""What `accaware benchmark` finds out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accaware.results import strict_json
from accaware.results.latency import LatencyComparison
from accaware.results.sizes import Size


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Samples a second, at the median latency."""

    dense: float
    compressed: float


@dataclass(frozen=True, kw_only=True)
class Convolutions:
    """How many convolutions ran in each precision, from the runtime's own profile."""

    dense: Mapping[str, int]
    compressed: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A dense model against its compressed one in an inference runtime.

    Attributes:
        model: the class.
        file_size: bytes of the file that the runtime loads; in PyTorch, of the saved weights.
        peak_memory: bytes; None where this system doesn't tell.
        memory_of: what ``peak_memory`` is of: "process", what loading and running the model adds
            to a process of its own; or "tensors", all that are alive at once in a forward.
        convolutions: None in PyTorch.
    """

    model: str
    latency: LatencyComparison
    throughput: Throughput
    file_size: Size
    peak_memory: Size | None
    memory_of: str
    convolutions: Convolutions | None

    def to_json(self) -> str:
        """The fields above, times in seconds and sizes in bytes."""
        return strict_json.document(self)
