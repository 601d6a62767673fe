"""result.json read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from accaware.errors import UsageError
from accaware.results.exports import ExportInfo
from accaware.results.handed_over import HandedOver
from accaware.results.latency import Latency, LatencyComparison
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes, Size
from accaware.search.budget import AccuracyBudget
from accaware.search.result import Best, SearchResult, SearchStatus, StopReason
from accaware.search.trial import Checkpoint, Epoch, Trial, TrialPhase, TrialState

UNFINISHED = (StopReason.INTERRUPTED, StopReason.FAILED)
"""Reasons that leave something to go on with."""


@dataclass(frozen=True)
class Outcome:
    """A run's result as its file tells it.

    Epochs are told by their number alone, checkpoints by nothing: the search's own are gone.
    """

    result: SearchResult
    model: HandedOver | None
    metric_name: str
    seconds: float
    text: str

    @property
    def finished(self) -> bool:
        return self.result.stop_reason not in UNFINISHED


def read_outcome(path: Path) -> Outcome | None:
    """The outcome in result.json; None where there is no such file.

    Raises:
        UsageError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        content = json.loads(text)
        return Outcome(
            _result(content),
            None if content["model"] is None else _handed_over(content),
            content["metric"]["name"],
            content["seconds"],
            text,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: can't be read: {error!r}") from error


def _result(content: dict[str, Any]) -> SearchResult:
    baseline, limit = content["baseline"], content["minimal_tolerable"]
    tolerance = abs(Decimal(str(baseline)) - Decimal(str(limit)))
    budget = AccuracyBudget(baseline, float(tolerance), content["metric"]["higher_is_better"])
    best = content["best"]
    return SearchResult(
        status=SearchStatus(content["status"]),
        stop_reason=StopReason[content["stop_reason"].upper()],
        budget=budget,
        best=None if best is None else Best(**best, checkpoint=Checkpoint("")),
        trials=tuple(_trial(trial) for trial in content["trials"]),
        epochs=content["epochs"],
    )


def _trial(content: dict[str, Any]) -> Trial:
    if content["within_budget"]:
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
        epochs=tuple(
            Epoch(number=number, compression_rate=rate, fully_compressed=True)
            for number in range(1, content["epochs"] + 1)
        ),
        metric=content["metric"],
        state=state,
        reason=content["reason"],
    )


def _handed_over(content: dict[str, Any]) -> HandedOver:
    latency = content["latency"]
    return HandedOver(
        sizes=_sizes(content["model"]),
        quantizers=tuple(_quantizer(entry) for entry in content["quantizers"]),
        latency=None if latency is None else _latency(latency),
        exports=tuple(ExportInfo(**entry) for entry in content["exports"]),
    )


def _quantizer(content: dict[str, Any]) -> QuantizerInfo:
    ends = content["range"]
    return QuantizerInfo(**{**content, "range": None if ends is None else (ends[0], ends[1])})


def _latency(content: dict[str, Any]) -> LatencyComparison:
    each = {name: Latency(**content[name]) for name in ("dense", "compressed")}
    return LatencyComparison(**{**content, **each})


def _sizes(content: dict[str, Any]) -> ModelSizes:
    return ModelSizes(**{one.name: Size(**content[one.name]) for one in fields(ModelSizes)})
