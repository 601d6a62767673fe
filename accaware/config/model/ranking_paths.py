"""Where the files of ranking coefficients that a config names lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from accaware.config.model.config import AlgorithmConfig, FilterPruningConfig


def with_located_coefficients(algorithm: AlgorithmConfig, directory: Path) -> AlgorithmConfig:
    """``algorithm`` with these paths absolute.

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
