"""What is asked for, whatever a model comes from, and how answers are read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from accaware.cli.init.interview import Interview, Wrong


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says; None for what it doesn't."""

    model: str | None = None
    weights: str | None = None
    dataset: str | None = None
    data: str | None = None
    download: bool = False
    module: str | None = None
    datamodule: str | None = None
    monitor: str | None = None
    checkpoint: str | None = None
    algorithm: str | None = None
    budget: str | None = None


@dataclass(frozen=True)
class Asked:
    """Who is asked, what was said already, and the folder where the files go."""

    interview: Interview
    options: Options
    folder: Path

    def relative(self, path: str) -> str:
        """A path as the config has it: from its own folder on, where it isn't absolute."""
        there = Path(path).expanduser()
        if there.is_absolute():
            return str(there)
        return Path(os.path.relpath(there, self.folder)).as_posix()


def something(answer: str) -> str:
    """Anything but nothing."""
    if not answer.strip():
        raise Wrong("something is needed here")
    return answer.strip()


def percent(answer: str) -> float:
    """A number from 0 to 100."""
    try:
        value = float(answer.strip().removesuffix("%"))
    except ValueError:
        raise Wrong(f"{answer!r} is no number") from None
    if not 0 <= value <= 100:
        raise Wrong(f"{answer} is not from 0 to 100")
    return value


def class_name(answer: str) -> str:
    """A class, by its file or its module."""
    file, _, name = answer.rpartition(":")
    if not file or not name.isidentifier():
        raise Wrong(f"{answer!r} names no class, as in module.py:Model")
    return answer


def class_or_nothing(answer: str) -> str:
    """The same, or an empty string."""
    return class_name(answer) if answer else ""


def existing_file(answer: str) -> Path:
    """A file that is there."""
    path = Path(something(answer)).expanduser()
    if not path.is_file():
        raise Wrong(f"there is no file {answer}")
    return path


def file_or_nothing(answer: str) -> str:
    """The same, or an empty string."""
    return str(existing_file(answer)) if answer else ""
