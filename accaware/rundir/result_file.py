"""result.json: what a run found, written, and read back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.errors import UsageError
from accaware.results.from_json import structured
from accaware.results.handed_over import HandedOver
from accaware.results.strict_json import jsonable
from accaware.search.budget import AccuracyBudget, as_decimal
from accaware.search.result import Best, ConfirmationResult, SearchResult, SearchStatus, StopReason
from accaware.search.trial import Confirmed, Epoch, Trial, TrialPhase, TrialState

UNFINISHED = (StopReason.INTERRUPTED, StopReason.FAILED)
"""Reasons that leave something to go on with."""


@dataclass(frozen=True)
class ResultFile:
    """A run's result as its file reports it.

    Of epochs there is their number alone, of checkpoints nothing: the search's own are gone.
    """

    result: SearchResult
    model: HandedOver | None
    metric_name: str
    seconds: float
    text: str

    @property
    def finished(self) -> bool:
        """Whether the search has come to its end."""
        return self.result.stop_reason not in UNFINISHED


def result_document(
    result: SearchResult,
    model: HandedOver | None,
    *,
    metric_name: str,
    seconds: float,
) -> dict[str, Any]:
    """A search's result as JSON-ready data.

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
        "required_confidence": budget.required_confidence,
        "samples": _samples_document(budget, result.best.metric if result.best else None),
        "best": result.best,
        "confirmation": _confirmation_document(result),
        "epochs": result.epochs,
        "seconds": round(seconds, 3),
        "trials": [_trial_document(trial) for trial in result.trials],
        "model": model.sizes if model else None,
        "layers": model.layers if model else (),
        "quantizers": model.quantizers if model else (),
        "latency": model.latency if model else None,
        "exports": model.exports if model else (),
    }
    document: dict[str, Any] = jsonable(content)
    if document["best"] is not None:
        del document["best"]["checkpoint"]
        if document["best"]["model_sparsity"] is None:
            del document["best"]["model_sparsity"]
    return document


def _samples_document(budget: AccuracyBudget, metric: float | None) -> dict[str, Any] | None:
    """How many samples the metric is a mean over, and how many the budget and the drop are."""
    if budget.samples is None:
        return None
    lost = None if metric is None else budget.absolute_degradation(metric)
    return {
        "count": budget.samples,
        "unit": budget.sample_unit,
        "budget": budget.in_samples(budget.tolerance),
        "drop": None if lost is None else budget.in_samples(lost),
    }


def _confirmation_document(result: SearchResult) -> dict[str, Any] | None:
    """Of the models that were tried; ``drop`` is of the best, if it was."""
    confirmation = result.confirmation
    if confirmation is None:
        return None
    budget, tried = confirmation.budget, confirmation.tried
    best = confirmation.of(result.best.trial) if result.best else None
    return {
        "baseline": budget.baseline,
        "minimal_tolerable": budget.minimal_tolerable,
        "samples": _samples_document(budget, best.metric if best else None),
        "tried": [
            {**vars(one), "absolute_degradation": budget.absolute_degradation(one.metric)}
            for one in tried
        ],
    }


def _trial_document(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "phase": trial.phase,
        "target_rate": trial.target_rate,
        "compression_rate": trial.compression_rate,
        **sparsity_document(trial),
        "lr_factor": trial.lr_factor,
        "start": trial.start,
        # A validation before the first training counts as epoch 0, but cost no training.
        "epochs": sum(epoch.number > 0 for epoch in trial.epochs),
        "metric": trial.metric,
        "standard_error": trial.standard_error,
        "within_budget": trial.within_budget,
        **({"cancelled": True} if trial.cancelled else {}),
        "reason": trial.reason,
    }


def sparsity_document(trial: Trial) -> dict[str, float]:
    """The share of zeros in the whole model, where the algorithm makes any; else no key at all."""
    sparsity = trial.model_sparsity
    return {} if sparsity is None else {"model_sparsity": sparsity}


def read_result(path: Path) -> ResultFile | None:
    """The result in result.json; None where there is no such file.

    Raises:
        UsageError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        content = json.loads(text)
        sizes = content["model"]
        return ResultFile(
            _result(content),
            None if sizes is None else structured(HandedOver, {**content, "sizes": sizes}),
            content["metric"]["name"],
            content["seconds"],
            text,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: can't be read: {error!r}") from error


def _result(content: dict[str, Any]) -> SearchResult:
    best = content["best"]
    confirmation = content.get("confirmation")
    return SearchResult(
        status=SearchStatus(content["status"]),
        stop_reason=StopReason[str(content["stop_reason"]).upper()],
        budget=_budget(content, content),
        best=None if best is None else structured(Best, {**best, "checkpoint": ""}),
        trials=tuple(_trial(trial) for trial in content["trials"]),
        epochs=content["epochs"],
        confirmation=None
        if confirmation is None
        else ConfirmationResult(
            _budget(confirmation, content),
            tuple(map(_confirmed, confirmation["tried"])),
        ),
    )


def _confirmed(content: dict[str, Any]) -> Confirmed:
    """A NaN is written as null."""
    metric = math.nan if content["metric"] is None else content["metric"]
    return structured(Confirmed, {**content, "metric": metric})


def _budget(content: dict[str, Any], whole: dict[str, Any]) -> AccuracyBudget:
    """Of the whole document, or of its confirmation. Earlier ones know of no samples."""
    baseline, limit = content["baseline"], content["minimal_tolerable"]
    samples = content.get("samples") or {}
    return AccuracyBudget(
        baseline,
        float(abs(as_decimal(baseline) - as_decimal(limit))),
        whole["metric"]["higher_is_better"],
        whole.get("required_confidence"),
        samples.get("count"),
        samples.get("unit"),
    )


def _trial(content: dict[str, Any]) -> Trial:
    if content.get("cancelled"):
        state = TrialState.CANCELLED
    elif content["within_budget"]:
        state = TrialState.WITHIN_BUDGET
    elif content["metric"] is None:
        state = TrialState.FAILED
    else:
        state = TrialState.NOT_WITHIN_BUDGET
    rate = content["compression_rate"]
    return Trial(
        number=content["number"],
        phase=TrialPhase(content["phase"]),
        target_rate=content["target_rate"],
        compression_rate=rate,
        model_sparsity=content.get("model_sparsity"),
        lr_factor=content.get("lr_factor", 1.0),
        start=content.get("start"),
        epochs=tuple(
            Epoch(number=number, compression_rate=rate, fully_compressed=True)
            for number in range(1, content["epochs"] + 1)
        ),
        metric=content["metric"],
        standard_error=content.get("standard_error"),
        state=state,
        reason=content["reason"],
    )
