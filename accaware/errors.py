"""Every error that accaware raises on purpose, under one root.

AccAwareError
├── UsageError                 the caller's mistake, found before any training
│   ├── ConfigError            the config's text or rules; carries every diagnostic at once
│   ├── PluginContractError    the plugin lacks functions, or one returns what it must not
│   ├── TaskError              a named model, dataset or file isn't there; lists them by key
│   ├── CompressionError       the model offers nothing that the algorithm could compress
│   ├── MemoryShortageError    the memory doesn't suffice to set up; says what would need less
│   ├── CheckpointError        a saved model that doesn't fit, or isn't one
│   ├── JournalError           a run's journal can't be read, or doesn't fit the search
│   └── MissingExtraError      an optional package that this needs isn't installed
└── RunError                   something failed while the run was under way
    ├── OtherProcessFailed     of several processes of one run another one failed
    ├── UnkeepableError        some of a run's state can't be written into a file
    └── PluginFailure          the user's own code raised; holds that exception
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


class AccAwareError(Exception):
    """Root of accaware's errors. Its text is meant for the user, whole, without a traceback."""


class AccAwareWarning(UserWarning):
    """Something that is allowed, and hardly what was meant."""


class UsageError(AccAwareError):
    """The caller's mistake: bad arguments, config, plugin or model. Nothing was trained."""


@dataclass(frozen=True)
class Diagnostic:
    """One fault of a config file.

    ``line`` and ``column`` count from 1 and point at the offending key or value; they are None
    where there is no text to point into (a config built from a dict, a missing file).
    ``severity`` is error, warning or note; ``source`` is the line's text.
    """

    message: str
    path: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None
    severity: str = "error"
    suggestion: str | None = None
    source: str | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(UsageError):
    """The config can't be used. ``diagnostics`` holds all its faults, in file order."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class PluginContractError(UsageError):
    """The plugin can't be loaded, doesn't offer what accaware needs, or returns something else.

    What a function returns may be met in the midst of a run, which stays resumable then.
    """


class TaskError(UsageError):
    """What a config names for a built-in plugin isn't there, or isn't what it should be.

    Args:
        faults: pairs of a key of the config and what is wrong with its value.
    """

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{key}: {message}" for key, message in self.faults))


class CompressionError(UsageError):
    """The model, or this combination of model and config, can't be compressed; says why."""


class MemoryShortageError(UsageError):
    """There isn't the memory that setting up takes; nothing was trained, nothing is half done."""


class CheckpointError(UsageError):
    """A saved model can't be read or doesn't fit the model it is loaded into."""


class JournalError(UsageError):
    """A run can't be gone on with: its journal is unreadable, or tells of another search."""


class MissingExtraError(UsageError):
    """An optional package isn't installed; names the extra that installs it."""


class RunError(AccAwareError):
    """The run failed while it was under way."""


class OtherProcessFailed(RunError):  # noqa: N818 - it isn't this one's error
    """Another process of the same run has failed, and tells of it itself.

    Args:
        message: which one, and in short why.
        mistake: whether the reason is the caller's mistake, found before any training.
    """

    def __init__(self, message: str, *, mistake: bool = False) -> None:
        self.mistake = mistake
        super().__init__(message)


class UnkeepableError(RunError):
    """A part of a run's state, the user's or a library's, is of a kind that no file can hold."""


class PluginFailure(RunError):  # noqa: N818 - it is theirs that failed; the name says so
    """The user's code raised. ``original`` is their exception, with its traceback.

    Args:
        function: the plugin's or callback's name, such as ``train_epoch``.
        original: the exception that came out of it.
    """

    def __init__(self, function: str, original: BaseException) -> None:
        self.function = function
        self.original = original
        super().__init__(f"{function} raised {type(original).__name__}: {original}")
