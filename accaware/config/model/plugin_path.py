"""Where the plugin that a config names lies."""

from __future__ import annotations

import re
from pathlib import Path

_FILE = re.compile(r"(?P<file>.*\.py)(?P<of>:\w+)?", re.DOTALL)


def located(plugin: str, directory: Path) -> str:
    """``plugin`` with an absolute path if it is a file; a module's name stays as it is.

    Args:
        plugin: ``file.py``, ``package.module``, either with an optional ``:Class``.
        directory: where a relative path starts.
    """
    match = _FILE.fullmatch(plugin)
    if match is None:
        return plugin
    return f"{(directory / match['file']).absolute()}{match['of'] or ''}"
