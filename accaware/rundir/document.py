"""What result.json says."""

from __future__ import annotations

from typing import Any

from accaware.results.handed_over import HandedOver
from accaware.results.strict_json import plain
from accaware.search.result import Best, SearchResult
from accaware.search.trial import Trial


def result_document(
    result: SearchResult,
    model: HandedOver | None,
    *,
    metric_name: str,
    seconds: float,
) -> dict[str, Any]:
    """A search's outcome as JSON-ready data.

    Args:
        model: None where none is handed over.
        seconds: wall time of the whole run, setting up and measuring the baseline included.
    """
    budget = result.budget
    content = {
        "status": result.status,
        "stop_reason": result.stop_reason,
        "metric": {"name": metric_name, "higher_is_better": budget.higher_is_better},
        "baseline": budget.baseline,
        "minimal_tolerable": budget.minimal_tolerable,
        "best": _best(result.best) if result.best else None,
        "epochs": result.epochs,
        "seconds": round(seconds, 3),
        "trials": [_trial(trial) for trial in result.trials],
        "model": model.sizes if model else None,
        "quantizers": model.quantizers if model else (),
        "latency": model.latency if model else None,
        "exports": model.exports if model else (),
    }
    document: dict[str, Any] = plain(content)
    return document


def _best(best: Best) -> dict[str, Any]:
    return {
        "trial": best.trial,
        "target_rate": best.target_rate,
        "compression_rate": best.compression_rate,
        "metric": best.metric,
        "absolute_degradation": best.absolute_degradation,
        "relative_degradation": best.relative_degradation,
        "epoch": best.epoch,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "phase": trial.phase,
        "target_rate": trial.target_rate,
        "compression_rate": trial.compression_rate,
        # A validation before the first training counts as epoch 0, but cost no training.
        "epochs": sum(epoch.number > 0 for epoch in trial.epochs),
        "metric": trial.metric,
        "within_budget": trial.within_budget,
        "reason": trial.reason,
    }
