"""One run from its first event to its files, however it ends."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from accaware.cli.exit_codes import ExitCode
from accaware.cli.output import Output
from accaware.cli.signals import StopRequest
from accaware.errors import AccAwareError, PluginContractError, RunError, UsageError
from accaware.report.search_position import Place
from accaware.report.summary import Summary
from accaware.results import strict_json
from accaware.results.exports import ExportInfo
from accaware.results.handed_over import HandedOver
from accaware.results.latency import LatencyComparison
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes
from accaware.rundir.atomic import naming, write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal, WhileLive
from accaware.rundir.result_file import UNFINISHED, result_document
from accaware.search.events import Event, Warned
from accaware.search.ports import Observer
from accaware.search.replay.tape import Tape
from accaware.search.result import SearchResult


class CompressionRun(Protocol):
    """A model, ready to be compressed, and the search over it."""

    @property
    def device(self) -> str: ...

    @property
    def left_out(self) -> Sequence[tuple[str, str]]:
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

    def quantizers(self) -> Sequence[QuantizerInfo]:
        """Of the model that is held now."""

    def save_model(self, path: Path) -> None: ...

    def latency(self, path: Path) -> LatencyComparison | None:
        """Of the model that was saved there, against the dense one; None where it can't tell."""

    @property
    def export_formats(self) -> Sequence[str]:
        """That the model is to be exported to in the end."""

    def export(self, format: str, folder: Path) -> ExportInfo:
        """Of the model that is held now."""


Start = Callable[[Path, Sequence[Observer], Tape], CompressionRun]
"""Sets a run up, given a folder for checkpoints, who is told of its events, and its tape."""


def conduct(start: Start, directory: RunDirectory, metric_name: str, output: Output) -> ExitCode:
    """Search, report, and leave the run's files in ``directory``.

    A run that is resumed goes on from its last snapshot. Whatever ends the search early, what
    was found by then is saved before the exception goes on, and the directory can be resumed.
    The directory is kept once something was found out that a new run would have to find again.

    Raises:
        RunError: an error of accaware's that came up in the midst of the search.
        JournalError: the directory can't be resumed.
        OSError: a file can't be written or read; names it.
    """
    run: CompressionRun | None = None
    place = Place()
    recording = directory.rewind()
    for name in recording.damaged:
        output.warn(f"{name} is damaged; going on from the one before it")
    with StopRequest() as stop, Journal(directory.events, recording.seconds) as journal:
        tape = Tape(recording.answers, journal.answer)
        ending = _Ending(directory, metric_name, output, journal)
        try:
            progress = output.progress(metric_name)
            shown = [progress] if progress else []
            # Setting up may measure the baseline, so its progress is shown too.
            with progress or nullcontext():
                output.setting_up(directory.path, tape.replaying)
                told = _Warnings(output)
                observers: list[Observer] = [WhileLive(journal, tape), place, *shown, told, stop]
                run = start(directory.checkpoints, observers, tape)
                if tape.replaying:
                    journal.run_resumed(device=run.device)
                else:
                    journal.run_started(device=run.device, left_out=run.left_out)
                output.ready(run.device)
                output.left_out(run.left_out, directory.events)
                stop.wait_for_batches()
                result = run.search()
        except BaseException as error:
            if run is not None and run.result is not None:
                directory.keep()
                if str(place):
                    error.add_note(f"in {place}")
                error.add_note(how_to_resume(directory.path))
                ending.salvage(run, run.result, error)
                # A plugin's wrong return stays the user's mistake, however late it shows.
                if isinstance(error, UsageError) and not isinstance(error, PluginContractError):
                    raise _with_notes(RunError(str(error)), error) from error
            raise
        directory.keep()
        ending.hand_over(run, result)
    if result.stop_reason in UNFINISHED:
        output.warn(how_to_resume(directory.path))
    else:
        directory.drop_checkpoints()
    return exit_code(result)


def exit_code(result: SearchResult) -> ExitCode:
    """Of a search that has ended."""
    return ExitCode.WITHIN_BUDGET if result.within_budget else ExitCode.NOT_WITHIN_BUDGET


def how_to_resume(path: Path) -> str:
    """For people to copy."""
    return f"to go on: accaware run --resume {shlex.quote(str(path))}"


def _with_notes(new: RunError, old: BaseException) -> RunError:
    for note in getattr(old, "__notes__", ()):
        new.add_note(note)
    return new


class _Warnings:
    """Says what the search warns of, to whoever asked for quiet as well."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def notify(self, event: Event) -> None:
        if isinstance(event, Warned):
            self._output.warn(event.message)


class _Ending:
    """Saves what there is and says so."""

    def __init__(
        self, directory: RunDirectory, metric_name: str, output: Output, journal: Journal
    ) -> None:
        self._directory = directory
        self._metric_name = metric_name
        self._output = output
        self._journal = journal

    def salvage(self, run: CompressionRun, result: SearchResult, error: BaseException) -> None:
        """Hand over the best so far, without hiding the error that ended the search."""
        saved = None
        try:
            if run.load_best():
                saved = self._save_model(run)
        except Exception as failure:  # noqa: BLE001 - after a failure anything may fail
            self._output.warn(f"the best model so far could not be saved: {failure}")
        try:
            self._tell(result, saved)
        except OSError as failure:
            self._output.warn(f"the result so far could not be saved: {failure}")
        self._stopped(result.stop_reason.name.lower(), error)

    def hand_over(self, run: CompressionRun, result: SearchResult) -> None:
        """The best model is held, where there is one.

        Raises:
            RunError: it doesn't come back from its file as it was, and the run isn't over; or it
                can't be exported as asked for, and all else is done.
        """
        if result.best is None:
            self._tell(result, None)
            return
        try:
            saved = self._save_model(run)
        except Exception as error:
            error.add_note(how_to_resume(self._directory.path))
            self._stopped("failed", error)
            raise
        # There is a result before it is timed and exported, whatever comes up meanwhile.
        self._write(result, saved)
        saved = replace(saved, latency=self._latency(run))
        exports, failures = self._exports(run)
        self._tell(result, replace(saved, exports=exports))
        if failures:
            raise RunError("\n".join(failures))

    def _stopped(self, reason: str, error: BaseException) -> None:
        with suppress(OSError):
            # Where the disk is full there is no room for a last word either.
            self._journal.run_stopped(reason, str(error) or type(error).__name__)

    def _exports(self, run: CompressionRun) -> tuple[list[ExportInfo], list[str]]:
        """What was exported, and for each format that couldn't be, why."""
        made, failures = [], []
        for format in run.export_formats:
            self._output.exporting(format)
            try:
                made.append(run.export(format, self._directory.exports))
            except (AccAwareError, OSError) as failure:
                path = shlex.quote(str(self._directory.path))
                failures.append(
                    f"the model is saved, but not exported: {failure}\n"
                    f"to try again: accaware export {path} --format {format}"
                )
        return made, failures

    def _latency(self, run: CompressionRun) -> LatencyComparison | None:
        self._output.timing()
        try:
            return run.latency(self._directory.model)
        except Exception as failure:  # noqa: BLE001 - what was found is no worse without it
            reason = next(iter(str(failure).splitlines()), type(failure).__name__)
            self._output.warn(f"the best model could not be timed: {reason}")
            return None

    def _save_model(self, run: CompressionRun) -> HandedOver:
        with naming(self._directory.model):
            self._directory.model.parent.mkdir(exist_ok=True)
        run.save_model(self._directory.model)
        return HandedOver(sizes=run.sizes(), quantizers=run.quantizers())

    def _tell(self, result: SearchResult, saved: HandedOver | None) -> None:
        text, seconds = self._write(result, saved)
        summary = Summary(
            result=result,
            model=saved,
            metric_name=self._metric_name,
            path=self._directory.model if saved else None,
            seconds=seconds,
        )
        self._output.finished(summary, text)

    def _write(self, result: SearchResult, saved: HandedOver | None) -> tuple[str, float]:
        """result.json, and the seconds that it tells."""
        seconds = self._journal.seconds
        content = result_document(result, saved, metric_name=self._metric_name, seconds=seconds)
        text = strict_json.document(content)
        write_text(self._directory.result, text)
        return text, seconds
