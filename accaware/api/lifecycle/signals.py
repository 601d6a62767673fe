"""Ctrl-C, SIGTERM and SIGUSR1: the first ends the batch at hand, the second stops at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from accaware.search.events import Event, SearchFinished

_SIGNALS = tuple(
    # A cluster's scheduler sends SIGUSR1 some time before it kills; Windows hasn't got it.
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1")
    if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop.

    Args:
        signum: the signal's number.
        quiet: whether another process of the run tells of it.
    """

    def __init__(self, signum: int, *, quiet: bool = False) -> None:
        self.signum = signum
        self.quiet = quiet
        super().__init__(signal.Signals(signum).name)


class StopRequest:
    """An observer that ends the run at the next event after a signal.

    Batches are events too, so a search stops between two of them, with its state whole.

    Args:
        installed: whether signals are waited for at all; only the main thread can.
        stopping: given an event and the signal that asked, tells by which signal the run is to
            end there, None for none: of several processes any may have been asked.
        alone: whether this is the only process. Of several, each may get SIGTERM from a scheduler
            and once more from torchrun, so that there only Ctrl-C can insist.
        quiet: whether another process says that it stops.
    """

    def __init__(
        self,
        *,
        installed: bool = True,
        stopping: Callable[[Event, int | None], int | None] = lambda event, asked: asked,
        alone: bool = True,
        quiet: bool = False,
    ) -> None:
        self._alone = alone
        self._installed = installed
        self._stopping = stopping
        self._quiet = quiet
        self._stopped = False
        self._asked: int | None = None
        self._waits = False
        self._previous: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> Self:
        """Wait for signals from now on."""
        if self._installed and threading.current_thread() is threading.main_thread():
            self._previous = {signum: signal.signal(signum, self._ask) for signum in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave them to whoever waited for them before."""
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def wait_for_batches(self) -> None:
        """The search begins. Until then there was nothing to lose, and no event to wait for."""
        self._waits = True

    def notify(self, event: Event) -> None:
        """End the run where a signal asked for it.

        Raises:
            Interrupted: one did.
        """
        # A search that has just ended has nothing left to interrupt.
        if isinstance(event, SearchFinished):
            return
        signum = self._stopping(event, self._asked)
        if signum is not None:
            self._stopped = True
            raise Interrupted(signum)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data loader's worker, which Ctrl-C reaches as well; its loader ends it
        if self._asked is not None:
            if self._alone or signum == signal.SIGINT:
                _stop_at_once(signum)
            return
        self._asked = signum
        if self._stopped:
            return  # by another process, whose end has torchrun ask this one too
        if not self._waits:
            raise Interrupted(signum)
        # print() isn't safe in a handler: the line that it interrupts may be printing as well.
        if not self._quiet:
            os.write(2, b"\nstopping after the batch at hand; once more stops at once\n")


def _stop_at_once(signum: int) -> None:
    if sys.stdout.isatty():
        os.write(1, b"\x1b[?25h")  # a live table hides the cursor
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
