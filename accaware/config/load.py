"""The doors of this room: a file, a text or a dict to an AccAwareConfig, and back."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from accaware.config.dump import dump
from accaware.config.examine import examine
from accaware.config.model.config import AlgorithmConfig, RunConfig
from accaware.config.text.document import Document
from accaware.config.text.fault import Fault, warning
from accaware.config.text.override import apply_override
from accaware.config.text.source import UnreadableError, decode, read
from accaware.errors import ConfigError, Diagnostic
from accaware.search.params import SearchParams


class ConfigWarning(UserWarning):
    """Something in a loaded config has no effect; says what and why."""


@dataclass(frozen=True, kw_only=True)
class AccAwareConfig(RunConfig):
    """A whole config, checked as a file is, and with its defaults filled in.

    Raises:
        ConfigError: with every fault, by the paths that the keys have in a file.
    """

    def __post_init__(self) -> None:
        for name, kinds in _SECTIONS.items():
            _check_kinds(name, getattr(self, name), kinds)
        _examined(Document.of_mapping(dump(self)), self.directory, ()).require()

    @classmethod
    def of(cls, config: RunConfig) -> AccAwareConfig:
        """A config that came out of checked data, which isn't checked again."""
        made = object.__new__(cls)
        made.__dict__.update(vars(config))
        return made

    @classmethod
    def from_json(cls, path: str | Path) -> AccAwareConfig:
        """Read a config file; comments and trailing commas are welcome.

        What has no effect in it is told of by a Python warning, a ConfigWarning.

        Raises:
            ConfigError: with every fault of the file.
        """
        return _told(examine_file(Path(path)))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> AccAwareConfig:
        """The config of a plain dict, such as ``json.load`` gives.

        Relative paths in it start at the current folder.

        Raises:
            ConfigError: with every fault, without line numbers.
        """
        return _told(_examined(Document.of_mapping(config), Path(), ()))

    def to_dict(self) -> dict[str, Any]:
        """The resolved config as JSON data; loading it gives an equal one but for ``directory``."""
        return dump(self)


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
        """What has no effect."""
        return tuple(one for one in self.diagnostics if one.severity == "warning")

    def refused(self, *faults: tuple[str, str]) -> Outcome:
        """The same with errors at keys of the whole, found out elsewhere: (key, message) each."""
        if self._examined is None:
            return self
        document, before = self._examined
        more = (Fault((key,), message, at_key=True) for key, message in faults)
        return _outcome(None, document, (*before, *more))

    def with_unread_task(self, plugin: str) -> Outcome:
        """The same, with a warning at each key of a task, which this plugin doesn't read."""
        if self.config is None or self.config.task is None or self._examined is None:
            return self
        document, before = self._examined
        message = f"plugin {plugin} can't read it, as it isn't a class that takes the config"
        faults = (*before, *(warning((key,), message) for key in self.config.task.given()))
        return replace(self, diagnostics=document.diagnostics(faults), _examined=(document, faults))

    def require(self) -> AccAwareConfig:
        """The config.

        Raises:
            ConfigError: there is none; with every error and warning.
        """
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


def examine_config(
    config: AccAwareConfig | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Outcome:
    """The same for one made in Python, or for its data, whose paths start at the current folder."""
    if isinstance(config, AccAwareConfig):
        return _examined(Document.of_mapping(dump(config)), config.directory, overrides)
    return _examined(Document.of_mapping(config), Path(), overrides)


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


_SECTIONS: Mapping[str, tuple[type, ...]] = {
    "accuracy_aware_training": get_args(SearchParams),
    "compression": get_args(AlgorithmConfig),
}


def _check_kinds(key: str, value: Any, kinds: tuple[type, ...]) -> None:
    """Look at the classes of a section, which a config made in Python may have wrong.

    Raises:
        ConfigError: a section isn't one of its classes, or not a tuple of them.
    """
    sections = value if key == "compression" and isinstance(value, tuple) else (value,)
    several = "a tuple of " if key == "compression" else ""
    names = " or ".join(kind.__name__ for kind in kinds)
    for each in sections:
        if not isinstance(each, kinds) or (several and not isinstance(value, tuple)):
            message = f"{reprlib.repr(value)} is not {several}{names}"
            raise ConfigError([Diagnostic(message, path=key)])


def _told(outcome: Outcome) -> AccAwareConfig:
    config = outcome.require()
    for one in outcome.warnings:
        # Past this function and AccAwareConfig.from_…, which are the usual way here.
        warnings.warn(str(one), ConfigWarning, stacklevel=3)
    return config


def _examined(document: Document, directory: Path, overrides: Sequence[str]) -> Outcome:
    if not document.complete:
        return _outcome(None, document, ())
    for option in overrides:
        apply_override(document, option)
    examination = examine(document, directory)
    return _outcome(examination.config, document, examination.faults)


def _outcome(config: RunConfig | None, document: Document, faults: tuple[Fault, ...]) -> Outcome:
    diagnostics = document.diagnostics(faults)
    if config is None or any(one.severity == "error" for one in diagnostics):
        return Outcome(None, diagnostics, (document, faults))
    return Outcome(AccAwareConfig.of(config), diagnostics, (document, faults))


def _unreadable(name: str, error: UnreadableError) -> Outcome:
    line, column = error.place or (None, None)
    return Outcome(None, (Diagnostic(str(error), file=name, line=line, column=column),))
