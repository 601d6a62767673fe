"""TensorBoard: event files in the run's directory, a folder for the run and one for each trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from accaware.results import strict_json
from accaware.rundir.directory import RunDirectory
from accaware.search.trial import TrialState
from accaware.trackers import event_files
from accaware.trackers.event_files import EventFiles
from accaware.trackers.tracked_run import Points, TrackedRun, TrackedTrial

AGAINST_RATE = "metric_against_rate"
"""Its steps are rates in hundredths of a percent: a step is a whole number. A dot for each trial,
at the rate that it achieved; the budget's line is a run of its own."""

FILTERS = "layers/filters_kept"
"""Of each layer with filters, in the order of the network, a bucket that holds as many."""

_LAYERS = "layers/names"
_RATE_STEPS = 10_000


class _Entry(NamedTuple):
    """A value at a step, which is made where it is missing only."""

    tag: str
    step: int
    time: float
    made: Callable[[], Any]


class TensorBoardTracker:
    """Writes what TensorBoard reads.

    What its files hold is read from them, so that nothing is written twice, whenever the last
    process was killed.
    """

    name = "tensorboard"

    def __init__(self, directory: RunDirectory) -> None:
        self._folder = directory.tensorboard
        self._files: dict[str, EventFiles] = {}

    @staticmethod
    def check_installed() -> None:
        """See that it can be used.

        Raises:
            MissingExtraError: it isn't installed.
        """
        event_files.check_installed()

    def send(self, run: TrackedRun) -> None:
        """Write what isn't in the files yet.

        Raises:
            OSError: a file can't be read or written.
        """
        try:
            self._put("", _of_run(run))
            self._put("limit", _limit(run))
            for trial in run.trials.values():
                self._put(f"trial-{trial.number:03}", _of_trial(trial, run.name))
        except BaseException:
            # What the files hold is to be looked up again.
            self._files.clear()
            raise

    def end(self, run: TrackedRun, directory: RunDirectory) -> None:
        """The same, for the last time: the files of the run are beside these."""
        self.send(run)

    def _put(self, folder: str, entries: Iterator[_Entry]) -> None:
        if folder not in self._files:
            self._files[folder] = EventFiles(self._folder / folder)
        files = self._files[folder]
        new = {(entry.tag, entry.step): entry for entry in entries}
        for known in new.keys() & files.held:
            del new[known]
        if new:
            files.append((entry.made(), entry.step, entry.time) for entry in new.values())


def _of_run(run: TrackedRun) -> Iterator[_Entry]:
    yield _Entry("config", 0, run.began, lambda: event_files.text("config", _code(run.config)))
    yield from _scalars(run.points)
    if run.budget is not None:
        yield _scalar(AGAINST_RATE, 0, run.began, run.budget.baseline)
    for step, (kept, time) in run.filters.items():
        yield from _filters(FILTERS, step, time, kept)
    outcome = run.outcome
    if outcome is not None and outcome.model is not None:
        sizes = {each.name: each.filters for each in outcome.model.layers if each.filters}
        step = outcome.result.epochs
        handed_over = {name: size.compressed for name, size in sizes.items()}
        yield from _filters(f"{FILTERS}/handed_over", step, run.last, handed_over)
        dense = {name: size.dense for name, size in sizes.items()}
        yield from _filters(f"{FILTERS}/dense", step, run.last, dense)


def _limit(run: TrackedRun) -> Iterator[_Entry]:
    """The budget's line, from no compression to all of it."""
    if run.budget is not None:
        for step in (0, _RATE_STEPS):
            yield _scalar(AGAINST_RATE, step, run.began, run.budget.minimal_tolerable)


def _of_trial(trial: TrackedTrial, run: str) -> Iterator[_Entry]:
    def start() -> Any:
        # Sessions of one group would be averaged, those of another run as well.
        return event_files.session_start(f"{run} {trial.name}", trial.params, trial.began)

    yield _Entry(event_files.SESSION_START, 0, trial.began, start)
    yield from _scalars(trial.points)
    verdict, ended = trial.verdict, trial.ended
    if verdict is None or ended is None:
        return
    if verdict.metric is not None and not verdict.cancelled:
        step = round(_RATE_STEPS * verdict.compression_rate)
        yield _scalar(AGAINST_RATE, step, ended, verdict.metric)
    succeeded = verdict.state in (TrialState.WITHIN_BUDGET, TrialState.NOT_WITHIN_BUDGET)
    yield _Entry(
        event_files.SESSION_END,
        0,
        ended,
        lambda: event_files.session_end(succeeded=succeeded, ended=ended),
    )


def _scalars(points: Points) -> Iterator[_Entry]:
    for (tag, step), point in points.items():
        yield _scalar(tag, step, point.time, point.value)


def _scalar(tag: str, step: int, time: float, value: float) -> _Entry:
    return _Entry(tag, step, time, partial(event_files.scalar, tag, value))


def _filters(tag: str, step: int, time: float, kept: Mapping[str, int]) -> Iterator[_Entry]:
    if not kept:
        return
    yield _Entry(tag, step, time, partial(event_files.bars, tag, list(kept.values())))
    names = "".join(f"- {at}: {name}\n" for at, name in enumerate(kept))
    yield _Entry(_LAYERS, 0, time, partial(event_files.text, _LAYERS, names))


def _code(config: Mapping[str, Any]) -> str:
    """JSON as Markdown has it."""
    return "".join(f"    {line}\n" for line in strict_json.document(config).splitlines())
