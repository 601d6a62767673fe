"""One run from its first event to its files, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from accaware.api.lifecycle.processes import Processes, SingleProcess, ending_together
from accaware.api.lifecycle.signals import StopRequest
from accaware.api.lifecycle.user_observers import guarded_observers
from accaware.api.listener import RunListener
from accaware.api.run_result import RunResult
from accaware.errors import AccAwareError, PluginContractError, RunError, UsageError
from accaware.results.exports import ExportInfo
from accaware.results.handed_over import HandedOver
from accaware.results.latency import LatencyComparison
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes
from accaware.rundir.atomic import naming, write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal, WhileLive
from accaware.rundir.result_file import UNFINISHED
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    TrialFinished,
    TrialStarted,
    Warned,
)
from accaware.search.ports import Observer
from accaware.search.replay.replay import Replay
from accaware.search.result import SearchResult, StopReason
from accaware.wording import first_line


class CompressionRun(Protocol):
    """A model, ready to be compressed, and the search over it."""

    @property
    def device(self) -> str:
        """Where it trains, as torch calls it."""

    @property
    def excluded(self) -> Sequence[tuple[str, str]]:
        """Layers that aren't compressed, each with the reason."""

    @property
    def result(self) -> SearchResult | None:
        """Of a finished search, or what an unfinished one had found; None before it began."""

    def search(self) -> SearchResult:
        """Search; the best model is held afterwards."""

    def load_best(self) -> bool:
        """After an unfinished search, hold the best model so far; False if there is none."""

    def sizes(self) -> ModelSizes:
        """Of the model that is held now."""

    def layers(self) -> Sequence[LayerSizes]:
        """Of the model that is held now, in the order of the network."""

    def quantizers(self) -> Sequence[QuantizerInfo]:
        """Of the model that is held now."""

    def save_model(self, path: Path) -> None:
        """Write the model that is held now, once its file is known to bring it back."""

    def latency(self, path: Path) -> LatencyComparison | None:
        """Of the model that was saved there, against the dense one; None where it can't tell."""

    @property
    def export_formats(self) -> Sequence[str]:
        """That the model is to be exported to in the end."""

    def export(self, format: str, folder: Path) -> ExportInfo:
        """Of the model that is held now."""


Start = Callable[[Path | None, Sequence[Observer], Replay], CompressionRun]
"""Sets a run up, given a folder for checkpoints, who is told of its events, and its replay.

Without a folder it has one that goes with it.
"""


def conduct(
    start: Start,
    directory: RunDirectory,
    metric_name: str,
    listener: RunListener,
    *,
    observers: Sequence[Observer] = (),
    handle_signals: bool = True,
    processes: Processes | None = None,
) -> RunResult:
    """Search, report, and leave the run's files in ``directory``.

    A run that is resumed goes on from its last snapshot. Whatever ends the search early, what
    was found by then is saved before the exception goes on, and the directory can be resumed.
    The directory is kept once something was found out that a new run would have to find again.

    Args:
        observers: the user's own.
        handle_signals: whether Ctrl-C and SIGTERM are waited for, as StopRequest does.
        processes: where this is the first of several, which wait for its recording; None for
            one by itself.

    Raises:
        PluginFailure: one of ``observers`` raised.
        RunError: an error of accaware's that came up in the midst of the search.
        JournalError: the directory can't be resumed.
        OSError: a file can't be written or read; names it.
    """
    processes = processes or SingleProcess()
    run: CompressionRun | None = None
    place = _Place()
    recording = directory.rewind()
    for name in recording.damaged:
        listener.warn(f"{name} is damaged; going on from the one before it")
    processes.agree(recording.answers)
    stop = StopRequest(
        installed=handle_signals, stopping=processes.stopping, alone=processes.count == 1
    )
    with stop, Journal(directory.events, recording.seconds) as journal:
        replay = processes.replay(recording.answers, journal.answer)
        ending = _Ending(directory, metric_name, listener, journal)
        try:
            progress = listener.progress(metric_name)
            shown = [progress] if progress else []
            # Setting up may measure the baseline, so its progress is shown too.
            with ending_together(processes), progress or nullcontext():
                listener.setting_up(directory.path, replay.replaying)
                told = _Warnings(listener)
                users = guarded_observers(observers)
                ours: list[Observer] = [WhileLive(journal, replay), place, *shown, told]
                run = start(directory.checkpoints, [*ours, *users, stop], replay)
                if replay.replaying:
                    journal.run_resumed(device=run.device)
                else:
                    journal.run_started(device=run.device, left_out=run.excluded)
                listener.ready(run.device)
                listener.left_out(run.excluded, directory.events)
                stop.wait_for_batches()
                result = run.search()
        except BaseException as error:
            if run is not None and run.result is not None:
                # What another process ended looks like a failure of this one.
                interrupted = isinstance(error, KeyboardInterrupt)
                reason = StopReason.INTERRUPTED if interrupted else StopReason.FAILED
                found = replace(run.result, stop_reason=reason)
                directory.keep()
                if str(place):
                    error.add_note(f"in {place}")
                error.add_note(listener.to_resume(directory.path))
                ending.salvage(run, found, error)
                # A plugin's wrong return stays the user's mistake, however late it shows.
                if isinstance(error, UsageError) and not isinstance(error, PluginContractError):
                    raise _with_notes(RunError(str(error)), error) from error
            raise
        directory.keep()
        processes.finish_alone()
        handed_over = ending.hand_over(run, result)
    if result.stop_reason in UNFINISHED:
        listener.warn(listener.to_resume(directory.path))
    else:
        directory.drop_checkpoints()
    return handed_over


def _with_notes(new: RunError, old: BaseException) -> RunError:
    for note in getattr(old, "__notes__", ()):
        new.add_note(note)
    return new


class _Place:
    """Knows the trials at hand, and the epoch of each."""

    def __init__(self) -> None:
        self._epochs: dict[int, int | None] = {}

    def __str__(self) -> str:
        places = [
            f"trial {trial}" + (f", epoch {epoch}" if epoch else "")
            for trial, epoch in sorted(self._epochs.items())
        ]
        return "; ".join(places)

    def notify(self, event: Event) -> None:
        """Remember the trial and the epoch that an event begins or ends."""
        if isinstance(event, TrialStarted):
            self._epochs[event.number] = None
        elif isinstance(event, EpochStarted):
            self._epochs[event.trial] = event.number
        elif isinstance(event, EpochFinished):
            self._epochs[event.trial] = None
        elif isinstance(event, TrialFinished):
            self._epochs.pop(event.trial.number, None)


class _Warnings:
    """Says what the search warns of, to whoever asked for quiet as well."""

    def __init__(self, listener: RunListener) -> None:
        self._listener = listener

    def notify(self, event: Event) -> None:
        """Pass a warning on."""
        if isinstance(event, Warned):
            self._listener.warn(event.message)


class _Ending:
    """Saves what there is and says so."""

    def __init__(
        self, directory: RunDirectory, metric_name: str, listener: RunListener, journal: Journal
    ) -> None:
        self._directory = directory
        self._metric_name = metric_name
        self._listener = listener
        self._journal = journal

    def salvage(self, run: CompressionRun, result: SearchResult, error: BaseException) -> None:
        """Hand over the best so far, without hiding the error that ended the search."""
        saved = None
        try:
            if run.load_best():
                saved = self._save_model(run)
        except Exception as failure:  # noqa: BLE001 - after a failure anything may fail
            self._listener.warn(f"the best model so far could not be saved: {failure}")
        try:
            self._tell(result, saved)
        except OSError as failure:
            self._listener.warn(f"the result so far could not be saved: {failure}")
        self._stopped(result.stop_reason.name.lower(), error)

    def hand_over(self, run: CompressionRun, result: SearchResult) -> RunResult:
        """The best model is held, where there is one.

        Raises:
            RunError: it doesn't come back from its file as it was, and the run isn't over; or it
                can't be exported as asked for, and all else is done.
        """
        if result.best is None:
            return self._tell(result, None)
        try:
            saved = self._save_model(run)
        except Exception as error:
            error.add_note(self._listener.to_resume(self._directory.path))
            self._stopped("failed", error)
            raise
        # There is a result before it is timed and exported, whatever comes up meanwhile.
        self._write(result, saved)
        saved = replace(saved, latency=self._latency(run))
        exports, failures = self._exports(run)
        told = self._tell(result, replace(saved, exports=exports))
        if failures:
            raise RunError("\n".join(failures))
        return told

    def _stopped(self, reason: str, error: BaseException) -> None:
        with suppress(OSError):
            # Where the disk is full there is no room for a last word either.
            self._journal.run_stopped(reason, str(error) or type(error).__name__)

    def _exports(self, run: CompressionRun) -> tuple[list[ExportInfo], list[str]]:
        """What was exported, and for each format that couldn't be, why."""
        made, failures = [], []
        for format in run.export_formats:
            self._listener.exporting(format)
            try:
                made.append(run.export(format, self._directory.exports))
            except (AccAwareError, OSError) as failure:
                again = self._listener.to_export(self._directory.path, format)
                failures.append(
                    f"the model is saved, but not exported: {failure}\nto try again: {again}"
                )
        return made, failures

    def _latency(self, run: CompressionRun) -> LatencyComparison | None:
        self._listener.timing()
        try:
            return run.latency(self._directory.model)
        except Exception as failure:  # noqa: BLE001 - what was found is no worse without it
            reason = first_line(failure)
            self._listener.warn(f"the best model could not be timed: {reason}")
            return None

    def _save_model(self, run: CompressionRun) -> HandedOver:
        with naming(self._directory.model):
            self._directory.model.parent.mkdir(exist_ok=True)
        run.save_model(self._directory.model)
        return HandedOver(sizes=run.sizes(), layers=run.layers(), quantizers=run.quantizers())

    def _tell(self, result: SearchResult, saved: HandedOver | None) -> RunResult:
        told = self._write(result, saved)
        self._listener.finished(told.summary(), told.to_json())
        return told

    def _write(self, result: SearchResult, saved: HandedOver | None) -> RunResult:
        """What result.json says now."""
        written = RunResult(
            directory=self._directory.path,
            search=result,
            model=saved,
            metric_name=self._metric_name,
            seconds=self._journal.seconds,
        )
        write_text(self._directory.result, written.to_json())
        return written
