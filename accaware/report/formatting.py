"""Numbers as people read them. ASCII only, so that any terminal and any log can show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accaware.search.budget import AccuracyBudget

NOTHING = "-"
"""Stands where there is no number."""

PLUS_MINUS = "±"
"""Before a standard error; the one letter that isn't ASCII."""


def percent(fraction: float) -> str:
    """0.803 is "80.3 %"."""
    return f"{100 * fraction:.1f} %"


def rate(compression_rate: float, model_sparsity: float | None) -> str:
    """A rate, and where weights are zeroed the share of all the model's that are."""
    beside = "" if model_sparsity is None else f", model sparsity {percent(model_sparsity)}"
    return f"rate {percent(compression_rate)}{beside}"


def quantity(value: int, unit: str = "") -> str:
    """11_172_810 is "11.2 M"; with a unit, "1.82 GFLOPs". Small plain counts stay whole."""
    if not unit and value < 10_000:
        return str(value)
    scaled, prefix = float(value), ""
    for larger in ("k", "M", "G", "T", "P"):
        # 999.95 would be shown as 1000.
        if scaled < 999.5:
            break
        scaled, prefix = scaled / 1000, larger
    digits = str(value) if not prefix else f"{scaled:.3g}"
    return f"{digits} {prefix}{unit}".rstrip()


def ratio(dense: int, compressed: int) -> str:
    """How many times smaller: "5.9x smaller", and "the same" where nothing was saved."""
    if compressed == dense:
        return "the same"
    if not compressed or not dense:
        return NOTHING
    if compressed > dense:
        return f"{compressed / dense:.2f}x larger"
    times = dense / compressed
    return f"{times:.1f}x smaller" if times >= 1.05 else f"{times:.2f}x smaller"


def speedup(dense: float, compressed: float) -> str:
    """How many times faster: "3.4x faster", or "1.20x slower"."""
    if not compressed or not dense:
        return NOTHING
    if compressed > dense:
        return f"{compressed / dense:.2f}x slower"
    return f"{dense / compressed:.2f}x faster"


def short_time(seconds: float | None) -> str:
    """From microseconds on: 214 us, 4.41 ms, 12.3 s. ASCII."""
    if seconds is None:
        return NOTHING
    # 999.6 would be shown as 1e+03.
    if seconds >= 0.9995:
        return duration(seconds)
    return f"{1e3 * seconds:.3g} ms" if seconds >= 0.9995e-3 else f"{1e6 * seconds:.3g} us"


def duration(seconds: float) -> str:
    """12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def counted(number: int, noun: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class MetricText:
    """A run's metrics, all with as many decimals as give four digits to the baseline."""

    budget: AccuracyBudget

    def value(self, metric: float | None) -> str:
        """0.9722, 93.45 or 1234; small differences don't turn into a false zero."""
        if metric is None:
            return NOTHING
        if not math.isfinite(metric):
            return str(metric)
        text = f"{metric:.{self._decimals}f}"
        if float(text) != 0:
            return text
        return f"{metric:.1e}" if metric else f"{0.0:.{self._decimals}f}"

    def drop(self, metric: float | None, standard_error: float | None = None) -> str:
        """What was lost, in the metric's units and in percent of the baseline.

        With its standard error, if that is given, behind a plus-minus sign: the one letter that
        isn't ASCII.
        """
        if metric is None or not math.isfinite(metric):
            return NOTHING
        absolute = self.value(self.budget.absolute_degradation(metric))
        if standard_error is not None:
            absolute += f" {PLUS_MINUS} {self.value(standard_error)}"
        relative = self.budget.relative_degradation(metric)
        # Adding 0.0 makes a rounded -0.0 a plain one.
        return absolute if relative is None else f"{absolute} ({round(relative, 1) + 0.0:.1f} %)"

    def samples(self, metric: float | None) -> str:
        """What was lost as a number of samples, "2 of 360 samples"; nothing where none counts."""
        if metric is None or not math.isfinite(metric):
            return NOTHING
        lost = self.budget.in_samples(self.budget.absolute_degradation(metric))
        return NOTHING if lost is None else f"{lost + 0.0:.4g} of {self.budget.samples} samples"

    def margin(self, metric: float | None, standard_error: float | None = None) -> str:
        """How far within the limit, negative beyond it; of the bound where confidence is asked."""
        if metric is None or not math.isfinite(metric):
            return NOTHING
        return self.value(self.budget.margin(metric, standard_error))

    @property
    def _decimals(self) -> int:
        size = abs(self.budget.baseline)
        if size == 0:
            return 4
        return min(max(4 - math.ceil(math.log10(size)), 0), 12)
