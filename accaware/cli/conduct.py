"""One run from its first event to its files, however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

from accaware.cli.exit_codes import ExitCode
from accaware.cli.output import Output
from accaware.errors import RunError, UsageError
from accaware.report.summary import Summary
from accaware.rundir import strict_json
from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.document import result_document
from accaware.rundir.journal import Journal
from accaware.rundir.sizes import ModelSizes
from accaware.search.ports import Observer
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

    def save_model(self, path: Path) -> None: ...


Start = Callable[[Path, Sequence[Observer]], CompressionRun]
"""Sets a run up, given a folder for checkpoints and who is told of its events."""


def conduct(start: Start, directory: RunDirectory, metric_name: str, output: Output) -> ExitCode:
    """Search, report, and leave the run's files in ``directory``.

    Whatever ends the search early, what was found by then is saved before the exception goes
    on. Where nothing was found out yet, the directory vanishes again.

    Raises:
        RunError: an error of accaware's that came up in the midst of the search.
    """
    begun = False
    run: CompressionRun | None = None
    ending = _Ending(directory, metric_name, output)
    try:
        with Journal(directory.events) as journal:
            try:
                progress = output.progress(metric_name)
                # Setting up may measure the baseline, so its progress is shown too.
                with progress or nullcontext():
                    output.setting_up(directory.path)
                    run = start(directory.checkpoints, [journal, *([progress] if progress else [])])
                    journal.run_started(device=run.device, left_out=run.left_out)
                    output.ready(run.device)
                    output.left_out(run.left_out, directory.events)
                    result = run.search()
            except BaseException as error:
                if run is not None and run.result is not None:
                    begun = True
                    ending.salvage(run, run.result)
                    if isinstance(error, UsageError):
                        raise RunError(str(error)) from error
                raise
            begun = True
            ending.hand_over(run, result)
    finally:
        directory.drop_checkpoints()
        if not begun:
            directory.discard()
    return ExitCode.WITHIN_BUDGET if result.within_budget else ExitCode.NOT_WITHIN_BUDGET


class _Ending:
    """Saves what there is and says so. Made when the run begins, for the clock."""

    def __init__(self, directory: RunDirectory, metric_name: str, output: Output) -> None:
        self._directory = directory
        self._metric_name = metric_name
        self._output = output
        self._began = time.perf_counter()

    def salvage(self, run: CompressionRun, result: SearchResult) -> None:
        """Hand over the best so far, without hiding the error that ended the search."""
        sizes = None
        try:
            if run.load_best():
                sizes = self._save_model(run)
        except Exception as error:  # noqa: BLE001 - after a failure anything may fail
            self._output.warn(f"the best model so far could not be saved: {error}")
        self._tell(result, sizes)

    def hand_over(self, run: CompressionRun, result: SearchResult) -> None:
        """The best model is held, where there is one."""
        self._tell(result, self._save_model(run) if result.best is not None else None)

    def _save_model(self, run: CompressionRun) -> ModelSizes:
        self._directory.model.parent.mkdir(exist_ok=True)
        run.save_model(self._directory.model)
        return run.sizes()

    def _tell(self, result: SearchResult, sizes: ModelSizes | None) -> None:
        seconds = time.perf_counter() - self._began
        content = result_document(result, sizes, metric_name=self._metric_name, seconds=seconds)
        text = strict_json.document(content)
        write_text(self._directory.result, text)
        summary = Summary(
            result=result,
            sizes=sizes,
            metric_name=self._metric_name,
            model=self._directory.model if sizes else None,
            seconds=seconds,
        )
        self._output.finished(summary, text)
