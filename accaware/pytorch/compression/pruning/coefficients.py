"""Learned ranking's coefficients by layer, and their file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accaware.errors import UsageError
from accaware.pytorch.compression.pruning.evolution import Affine
from accaware.results import strict_json
from accaware.rundir.atomic import write_text

FORMAT = "accaware.ranking_coefficients"
FORMAT_VERSION = 1

Coefficients = Mapping[str, Affine]
"""By the name of the convolution or linear layer whose filters they rank."""


def write_coefficients(path: Path, coefficients: Coefficients, importance: str) -> None:
    """Write them whole or not at all.

    Args:
        importance: the filter importance that they were learned for.

    Raises:
        OSError: names the path; what was there before is intact.
    """
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "filter_importance": importance,
        "layers": as_data(coefficients),
    }
    write_text(path, strict_json.document(content))


def read_coefficients(path: Path, layers: Iterable[str], importance: str) -> Coefficients:
    """The coefficients of a file, for exactly these layers.

    Raises:
        UsageError: the file can't be read, or is for other layers or another importance.
    """
    content = _content(path)
    learned_for = content.get("filter_importance")
    if learned_for != importance:
        raise UsageError(
            f"{path}: its coefficients are for filter_importance {learned_for}, "
            f"but the config has {importance}"
        )
    return checked(content.get("layers"), layers, str(path))


def check_writable(path: Path) -> None:
    """Found out before the coefficients are learned, which may take hours.

    Raises:
        UsageError: there is no such folder, or something else is in the file.
    """
    if not path.parent.is_dir():
        raise UsageError(f"save_ranking_coeffs_path: there is no folder {path.parent}")
    if path.exists():
        try:
            _content(path)
        except UsageError as error:
            raise UsageError(f"save_ranking_coeffs_path won't be replaced: {error}") from None


def as_data(coefficients: Coefficients) -> dict[str, dict[str, float]]:
    """As JSON data, which ``checked`` reads."""
    return {layer: {"scale": one.scale, "shift": one.shift} for layer, one in coefficients.items()}


def checked(data: Any, layers: Iterable[str], place: str) -> Coefficients:
    """JSON data as the coefficients of these layers, in their order.

    Raises:
        UsageError: names ``place`` and the layer that is missing, unknown or has no coefficients.
    """
    entries = data if isinstance(data, dict) else {}
    wanted = list(layers)
    for layer in wanted:
        if layer not in entries:
            raise UsageError(f"{place}: has no coefficients for the layer {layer}")
    for layer in entries:
        if layer not in wanted:
            raise UsageError(f"{place}: the model has no layer {layer} that can lose filters")
    return {layer: _affine(entries[layer], layer, place) for layer in wanted}


def _affine(entry: Any, layer: str, place: str) -> Affine:
    pair = [entry.get("scale"), entry.get("shift")] if isinstance(entry, dict) else []
    numbers = [
        float(value)
        for value in pair
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    ]
    if len(numbers) != 2 or numbers[0] <= 0:
        raise UsageError(
            f"{place}: the layer {layer} needs a scale above 0 and a shift, both finite numbers"
        )
    return Affine(*numbers)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path}: holds no ranking coefficients that accaware saved")
    version = content.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(
            f"{path}: format version {version}; this accaware reads up to {FORMAT_VERSION}"
        )
    return content
