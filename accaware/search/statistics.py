"""The search's outcome under NNCF's names."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.search.result import SearchResult


@dataclass(frozen=True, kw_only=True)
class TrainingLoopStatistics:
    """What an NNCF 2 script reads after the search.

    Attributes:
        relative_accuracy_degradation: percent of the baseline; None for a baseline of 0.
        accuracy_budget: how far the compressed model is within the limit, in the metric's units.
    """

    uncompressed_accuracy: float
    compression_rate: float
    compressed_accuracy: float | None
    absolute_accuracy_degradation: float | None
    relative_accuracy_degradation: float | None
    accuracy_budget: float | None

    @classmethod
    def of(cls, result: SearchResult) -> TrainingLoopStatistics:
        """The numbers of a result's best trial; None or 0 where no trial was judged."""
        best = result.best
        return cls(
            uncompressed_accuracy=result.budget.baseline,
            compression_rate=best.compression_rate if best else 0.0,
            compressed_accuracy=best.metric if best else None,
            absolute_accuracy_degradation=best.absolute_degradation if best else None,
            relative_accuracy_degradation=best.relative_degradation if best else None,
            accuracy_budget=result.budget.margin(best.metric) if best else None,
        )

    def to_str(self) -> str:
        """One line a number, for a log."""
        rows = (
            ("Uncompressed accuracy", self.uncompressed_accuracy),
            ("Compression rate", self.compression_rate),
            ("Compressed accuracy", self.compressed_accuracy),
            ("Absolute accuracy degradation", self.absolute_accuracy_degradation),
            ("Relative accuracy degradation, %", self.relative_accuracy_degradation),
            ("Accuracy budget left", self.accuracy_budget),
        )
        return "\n".join(
            f"{name}: {'-' if value is None else f'{value:.6g}'}" for name, value in rows
        )
