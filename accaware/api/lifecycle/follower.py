"""What all but the first of several processes do of a run: they search with it, in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accaware.api.lifecycle.processes import Processes, ending_together
from accaware.api.lifecycle.run_lifecycle import Start
from accaware.api.lifecycle.signals import StopRequest
from accaware.api.listener import PythonListener
from accaware.api.run_result import RunResult
from accaware.errors import Diagnostic


def follow(start: Start, processes: Processes, *, handle_signals: bool) -> RunResult:
    """Take part in the search that the first process conducts; what that found in the end.

    Raises:
        Interrupted: a signal came to one of the processes.
        OtherProcessFailed: another one has failed.
        AccAwareError: this one has.
    """
    with ending_together(processes):
        recorded: Sequence[tuple[str, Any]] = processes.agree(())
        stop = StopRequest(
            installed=handle_signals, stopping=processes.stopping, alone=False, quiet=True
        )
        with stop:
            run = start(None, [stop], processes.replay(recorded, lambda call, answer: None))
            stop.wait_for_batches()
            run.search()
            processes.finish_alone()
            result: RunResult = processes.told()
    return result


class Silence(PythonListener):
    """A listener that says nothing: the first process tells all that there is to tell."""

    def __init__(self) -> None:
        super().__init__(progress=False)

    def warn(self, message: str) -> None:
        """The first one warns of the same."""

    def config_warning(self, diagnostic: Diagnostic) -> None:
        """The first one has the same config."""
