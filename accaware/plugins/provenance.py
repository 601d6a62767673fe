"""Which code a plugin is, so that a change of it can be told."""

from __future__ import annotations

import hashlib
import inspect
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from accaware.plugins.built_in import code_in, spec_of


@dataclass(frozen=True)
class Provenance:
    """What is known of a plugin's code.

    Attributes:
        digest: SHA-256 of its source; None where it has none.
        commit: of the git repository it is in, if any.
    """

    digest: str | None
    commit: str | None

    @classmethod
    def of_spec(
        cls, plugin: str | None, arguments: Mapping[str, Any], directory: Path
    ) -> Provenance:
        """Of a plugin that was loaded by what a config says; its module's whole file counts.

        The built-in one whose arguments name the user's own code is no more than that.
        """
        specs = code_in(plugin, arguments) or [spec_of(plugin)]
        files = list(dict.fromkeys(source_file(each, directory) for each in specs))
        if len(files) == 1:
            return cls(source_digest(files[0]), git_commit(files[0]))
        digests = "".join(source_digest(file) or "" for file in files)
        return cls(hashlib.sha256(digests.encode()).hexdigest(), git_commit(files[0]))

    @classmethod
    def of_object(cls, target: Any) -> Provenance:
        """Of one that was handed over: the module's file, or the class's lines alone.

        A script that defines a class may change its other lines, those that start and resume runs.
        """
        own = target if isinstance(target, ModuleType) else class_of(target)
        lines = _lines_of(own)
        digest = None if lines is None else hashlib.sha256(lines.encode()).hexdigest()
        module = own if isinstance(own, ModuleType) else sys.modules.get(own.__module__)
        file = Path(getattr(module, "__file__", None) or "")
        return cls(digest, git_commit(file) if file.is_file() else None)


def _lines_of(own: ModuleType | type) -> str | None:
    """The source; None of what was typed into an interpreter that keeps none."""
    functions = [value for _, value in sorted(vars(own).items()) if inspect.isfunction(value)]
    # A notebook keeps that of functions alone.
    for parts in ([own], functions):
        try:
            lines = [inspect.getsource(part) for part in parts]
        except (OSError, TypeError):
            continue
        return "".join(lines) or None
    return None


def name_of_object(target: Any) -> str:
    """What a plugin that was handed over is called, in messages and in the manifest."""
    if isinstance(target, ModuleType):
        return f"<module {target.__name__}>"
    kind = class_of(target)
    return f"<{'class' if kind is target else 'object of'} {kind.__module__}.{kind.__qualname__}>"


def is_handed_over(name: str) -> bool:
    """Whether a plugin's name is that of one that was handed over, which nothing can load."""
    return name.startswith("<")


def class_of(target: Any) -> type:
    """An object's class, and a class itself."""
    return target if inspect.isclass(target) else type(target)


def source_file(spec: str, directory: Path) -> Path | None:
    """The file of a loaded plugin's module; None where there is none, as for a built-in one."""
    head, colon, tail = spec.rpartition(":")
    source = head if head and colon and tail.isidentifier() else spec
    if source.endswith(".py"):
        return (directory / source).resolve()
    name = getattr(sys.modules.get(source), "__file__", None)
    return Path(name) if name else None


def source_digest(file: Path | None) -> str | None:
    """The SHA-256 of that file alone; what it imports isn't part of it."""
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def git_commit(file: Path | None) -> str | None:
    """The commit that the file's folder is at; None where it is in no repository."""
    if file is None:
        return None
    command = ["git", "-C", str(file.parent), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
