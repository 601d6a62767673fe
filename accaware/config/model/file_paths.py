"""Where the files that a config names lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accaware.config.model.config import AlgorithmConfig, FilterPruningConfig

_PLUGIN_FILE = re.compile(r"(?P<file>.*\.py)(?P<of>:\w+)?", re.DOTALL)


def located_plugin(plugin: str, directory: Path) -> str:
    """``plugin`` with an absolute path if it is a file; a module's name stays as it is.

    Args:
        plugin: ``file.py``, ``package.module``, either with an optional ``:Class``.
        directory: where a relative path starts.
    """
    match = _PLUGIN_FILE.fullmatch(plugin)
    if match is None:
        return plugin
    return f"{(directory / match['file']).absolute()}{match['of'] or ''}"


def located_arguments(
    plugin: str | None, arguments: Mapping[str, Any], directory: Path
) -> dict[str, Any]:
    """``plugin_args`` with absolute paths where a built-in plugin takes files.

    Args:
        directory: where a relative path starts.
    """
    own = dict(arguments)
    if plugin != "accaware.lightning":
        return own
    for key in ("module", "datamodule"):
        if isinstance(own.get(key), str):
            own[key] = located_plugin(own[key], directory)
    if isinstance(own.get("checkpoint"), str):
        own["checkpoint"] = _located(str(Path(own["checkpoint"]).expanduser()), directory)
    return own


def with_located_coefficients(algorithm: AlgorithmConfig, directory: Path) -> AlgorithmConfig:
    """``algorithm`` with the paths of its ranking coefficients absolute.

    Args:
        directory: where a relative path starts.
    """
    if not isinstance(algorithm, FilterPruningConfig):
        return algorithm
    params = replace(
        algorithm.params,
        save_ranking_coeffs_path=_located(algorithm.params.save_ranking_coeffs_path, directory),
        load_ranking_coeffs_path=_located(algorithm.params.load_ranking_coeffs_path, directory),
    )
    return replace(algorithm, params=params)


def _located(path: str | None, directory: Path) -> str | None:
    return None if path is None else str((directory / path).absolute())
