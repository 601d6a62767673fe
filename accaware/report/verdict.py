"""A run's last word in rows: the dense model against the compressed one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accaware.report.formatting import (
    MetricText,
    percent,
    quantity,
    ratio,
    short_time,
    speedup,
)
from accaware.results.handed_over import HandedOver
from accaware.results.sizes import ModelSizes
from accaware.search.budget import AccuracyBudget
from accaware.search.result import Best, ConfirmationResult
from accaware.search.trial import Trial


@dataclass(frozen=True)
class VerdictRow:
    """One quantity. What is lost and how sure that is may have a plus-minus sign in it."""

    name: str
    dense: str
    compressed: str
    note: str


def verdict_rows(
    best: Best | Trial,
    budget: AccuracyBudget,
    metric_name: str,
    *,
    confirmation: ConfirmationResult | None = None,
    model: HandedOver | None = None,
) -> Iterator[VerdictRow]:
    """Metric, drop, rate, sizes and latency, as far as they are known.

    Args:
        best: what is handed over, or the best trial so far; it has a metric.
    """
    assert best.metric is not None
    yield from _metric_rows(metric_name, budget, best.metric, best.standard_error)
    number = best.trial if isinstance(best, Best) else best.number
    confirmed = confirmation.of(number) if confirmation else None
    if confirmation is not None and confirmed is not None:
        yield from _metric_rows(
            metric_name,
            confirmation.budget,
            confirmed.metric,
            confirmed.standard_error,
            part=", confirmation",
        )
    asked = f"asked for {percent(best.target_rate)}"
    yield VerdictRow("compression rate", "", percent(best.compression_rate), asked)
    if best.model_sparsity is not None:
        zeros = percent(best.model_sparsity)
        yield VerdictRow("model sparsity", "", zeros, "zeros of all parameters")
    if model is None:
        return
    yield from _size_rows(model.sizes)
    if model.latency is not None:
        before, after = model.latency.dense.median, model.latency.compressed.median
        yield VerdictRow(
            f"latency in {model.latency.runtime}",
            short_time(before),
            short_time(after),
            speedup(before, after),
        )


def confirmation_lines(best: Best | None, confirmation: ConfirmationResult | None) -> list[str]:
    """What was refused, and whether the best wasn't even tried."""
    if confirmation is None:
        return []
    metric = MetricText(confirmation.budget)
    lines = [
        f"Not confirmed: trial {one.trial}, drop {metric.drop(one.metric)}, "
        f"allowed {metric.value(confirmation.budget.tolerance)}"
        for one in confirmation.tried
        if not one.within_budget
    ]
    if best is not None and confirmation.of(best.trial) is None:
        lines.append("Not judged on the confirmation part")
    return lines


def _metric_rows(
    name: str,
    budget: AccuracyBudget,
    compressed: float,
    standard_error: float | None,
    part: str = "",
) -> Iterator[VerdictRow]:
    metric = MetricText(budget)
    limit = f"limit {metric.value(budget.minimal_tolerable)}"
    yield VerdictRow(name + part, metric.value(budget.baseline), metric.value(compressed), limit)
    allowed = f"allowed {metric.value(budget.tolerance)}"
    yield VerdictRow(f"drop{part}", "", metric.drop(compressed, standard_error), allowed)
    if budget.required_confidence is not None and standard_error is not None:
        bound = budget.tolerance - budget.margin(compressed, standard_error)
        confidence = f"with {percent(budget.required_confidence)} confidence{part}"
        yield VerdictRow(confidence, "", f"at most {metric.value(bound)}", allowed)
    counted_as = budget.in_samples(budget.tolerance)
    if counted_as is not None:
        samples = f"allowed {counted_as:.4g} samples"
        yield VerdictRow(f"in samples{part}", "", metric.samples(compressed), samples)


def _size_rows(sizes: ModelSizes) -> Iterator[VerdictRow]:
    rows = [
        ("parameters", sizes.parameters, ""),
        ("nonzero parameters", sizes.nonzero_parameters, ""),
        ("FLOPs", sizes.flops, "FLOPs"),
        ("filters", sizes.filters, ""),
        ("file size", sizes.file_size, "B"),
    ]
    # Each algorithm leaves one of these as it is: sparsity the filters, pruning the zeros.
    idle = {"filters"} if sizes.filters.dense == sizes.filters.compressed else set()
    if sizes.nonzero_parameters == sizes.parameters:
        idle.add("nonzero parameters")
    for name, size, unit in rows:
        if name not in idle:
            yield VerdictRow(
                name,
                quantity(size.dense, unit),
                quantity(size.compressed, unit),
                ratio(size.dense, size.compressed),
            )
