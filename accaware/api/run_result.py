"""What a run found: all that its result.json says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.report.summary import Summary
from accaware.results import strict_json
from accaware.results.handed_over import HandedOver
from accaware.rundir.directory import RunDirectory
from accaware.rundir.result_file import result_document
from accaware.search.result import Best, SearchResult, SearchStatus, StopReason
from accaware.search.trial import Trial


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run that has ended.

    Attributes:
        directory: with the run's files.
        search: what was searched and found. Of a run that had ended before, trials tell how many
            epochs they had, and not what each of these was.
        model: the compressed model against the dense one; None where none is handed over.
        metric_name: of what validation measures.
        seconds: wall time of the whole run.
    """

    directory: Path
    search: SearchResult
    model: HandedOver | None
    metric_name: str
    seconds: float

    @property
    def status(self) -> SearchStatus:
        """Whether the best is within budget; if not, it is the best effort."""
        return self.search.status

    @property
    def within_budget(self) -> bool:
        """The same as a truth value."""
        return self.search.within_budget

    @property
    def stop_reason(self) -> StopReason:
        """Why the search ended."""
        return self.search.stop_reason

    @property
    def baseline(self) -> float:
        """The dense model's metric."""
        return self.search.budget.baseline

    @property
    def best(self) -> Best | None:
        """What is handed over; None where no trial could be judged."""
        return self.search.best

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All of them, in their order."""
        return self.search.trials

    @property
    def epochs(self) -> int:
        """Of training, over all trials."""
        return self.search.epochs

    @property
    def model_path(self) -> Path | None:
        """The file for ``load_compressed``; None where no model is handed over."""
        return None if self.model is None else RunDirectory(self.directory, ()).model

    def to_dict(self) -> dict[str, Any]:
        """The data of result.json."""
        return result_document(
            self.search, self.model, metric_name=self.metric_name, seconds=self.seconds
        )

    def to_json(self) -> str:
        """The text of result.json."""
        return strict_json.document(self.to_dict())

    def summary(self) -> Summary:
        """For rich to print."""
        return Summary(
            result=self.search,
            model=self.model,
            metric_name=self.metric_name,
            path=self.model_path,
            seconds=self.seconds,
        )
