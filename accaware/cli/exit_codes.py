"""What a shell script learns from a run."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    WITHIN_BUDGET = 0
    NOTHING_TO_DO = 0
    """The run had finished before, within budget or not."""
    FAILED = 1
    """The plugin or the run failed; what was earned until then is saved."""
    USAGE = 2
    """Bad usage, config or plugin; nothing was trained."""
    NOT_WITHIN_BUDGET = 3
    """The best effort is saved, where any trial could be judged."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it; the best so far is saved."""
    TERMINATED = 143
    """SIGTERM or SIGUSR1, likewise."""
