"""The doors of this room: a file, a text or a dict to an AccAwareConfig, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.config.dump import dump
from accaware.config.examine import examine
from accaware.config.model.config import AccAwareConfig
from accaware.config.text.document import Document
from accaware.config.text.fault import Fault
from accaware.config.text.override import apply_override
from accaware.config.text.source import UnreadableError, decode, read
from accaware.errors import ConfigError, Diagnostic


class ConfigWarning(UserWarning):
    """Something in a loaded config has no effect; says what and why."""


@dataclass(frozen=True)
class Outcome:
    """What became of a config.

    ``config`` is None where ``diagnostics`` has an error; warnings and notes stand beside a config.
    """

    config: AccAwareConfig | None
    diagnostics: tuple[Diagnostic, ...]
    _examined: tuple[Document, tuple[Fault, ...]] | None = None

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(one for one in self.diagnostics if one.severity == "warning")

    def refused(self, *faults: tuple[str, str]) -> Outcome:
        """The same with errors at keys of the whole, found out elsewhere: (key, message) each."""
        if self._examined is None:
            return self
        document, before = self._examined
        more = (Fault((key,), message, at_key=True) for key, message in faults)
        return _outcome(None, document, (*before, *more))

    def require(self) -> AccAwareConfig:
        """Raises: ConfigError, with every error and warning, where there is no config."""
        if self.config is None:
            raise ConfigError([one for one in self.diagnostics if one.severity != "note"])
        return self.config


def examine_file(path: Path, overrides: Sequence[str] = ()) -> Outcome:
    """The config of a file and all that is to be said about it. Never raises for a mistake in it.

    Args:
        path: the file; relative paths in it start at its folder.
        overrides: ``KEY=VALUE`` each, as `--set` has them.
    """
    try:
        text = read(path)
    except UnreadableError as error:
        return _unreadable(str(path), error)
    return examine_text(text, str(path), path.absolute().parent, overrides)


def examine_bytes(raw: bytes, name: str, directory: Path, overrides: Sequence[str] = ()) -> Outcome:
    """The same for what was read elsewhere, such as standard input."""
    try:
        text = decode(raw)
    except UnreadableError as error:
        return _unreadable(name, error)
    return examine_text(text, name, directory, overrides)


def examine_text(text: str, name: str, directory: Path, overrides: Sequence[str] = ()) -> Outcome:
    """The same for a text; ``name`` stands in the diagnostics as its file."""
    return _examined(Document.of_text(text, name), directory, overrides)


def load_file(path: Path, overrides: Sequence[str] = ()) -> AccAwareConfig:
    """The config alone. What would be a warning beside it is a Python warning.

    Raises:
        ConfigError: with every fault of the file.
    """
    return _told(examine_file(path, overrides))


def load_text(
    text: str, name: str, directory: Path, overrides: Sequence[str] = ()
) -> AccAwareConfig:
    """As ``load_file``, for a text."""
    return _told(examine_text(text, name, directory, overrides))


def load_dict(mapping: Mapping[str, Any]) -> AccAwareConfig:
    """As ``load_file``, without line numbers; relative paths start at the current folder."""
    return _told(_examined(Document.of_mapping(mapping), Path(), ()))


def check_file(path: Path, overrides: Sequence[str] = ()) -> tuple[Diagnostic, ...]:
    """Every error and warning about a file; without an error it can be loaded."""
    return examine_file(path, overrides).diagnostics


def dump_dict(config: AccAwareConfig) -> dict[str, Any]:
    """The resolved config as JSON data; loading it gives an equal config but for ``directory``."""
    return dump(config)


def _told(outcome: Outcome) -> AccAwareConfig:
    config = outcome.require()
    for one in outcome.warnings:
        # Past this function, load_… and AccAwareConfig.from_…, which are the usual way here.
        warnings.warn(str(one), ConfigWarning, stacklevel=4)
    return config


def _examined(document: Document, directory: Path, overrides: Sequence[str]) -> Outcome:
    if not document.complete:
        return _outcome(None, document, ())
    for option in overrides:
        apply_override(document, option)
    examination = examine(document, directory)
    return _outcome(examination.config, document, tuple(examination.faults))


def _outcome(
    config: AccAwareConfig | None, document: Document, faults: tuple[Fault, ...]
) -> Outcome:
    diagnostics = document.diagnostics(faults)
    broken = any(one.severity == "error" for one in diagnostics)
    return Outcome(None if broken else config, diagnostics, (document, faults))


def _unreadable(name: str, error: UnreadableError) -> Outcome:
    line, column = error.place or (None, None)
    return Outcome(None, (Diagnostic(str(error), file=name, line=line, column=column),))
