"""The user's own part of a traceback."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

import accaware

_OURS = Path(accaware.__file__).parent
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
_INSTALLED = {"site-packages", "dist-packages"}


def trace_of(error: BaseException) -> str:
    """``error`` with its traceback from the user's first frame on.

    What lies above that frame is how accaware and its libraries got there, which tells the user
    nothing. What lies below it stays: it shows what their code ran into. Where none of the
    frames is the user's, all of them stay.
    """
    trace = TracebackException.from_exception(error)
    _drop_head(trace)
    return "".join(trace.format())


def _drop_head(trace: TracebackException) -> None:
    frames = list(trace.stack)
    # A syntax error tells its place by itself; the frames are those of Python's import.
    nowhere = len(frames) if getattr(trace, "filename", None) else 0
    first = next((at for at, frame in enumerate(frames) if _is_users(frame)), nowhere)
    trace.stack = StackSummary.from_list(frames[first:])
    for earlier in (trace.__cause__, trace.__context__):
        if earlier is not None:
            _drop_head(earlier)


def _is_users(frame: FrameSummary) -> bool:
    if frame.filename.startswith("<"):
        return False  # frozen modules, and code that libraries generate
    path = Path(frame.filename)
    library = _INSTALLED.intersection(path.parts) or path.is_relative_to(_STANDARD_LIBRARY)
    return not library and not path.is_relative_to(_OURS)
