"""An AccAwareConfig back to JSON data, with every default that counts written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from accaware.config.catalog import properties, schema
from accaware.config.model import AccAwareConfig, AlgorithmConfig
from accaware.config.notices import has_effect
from accaware.config.plugin_path import located


def dump(config: AccAwareConfig) -> dict[str, Any]:
    """Loading the result again gives an equal config, but for ``directory``."""
    data: dict[str, Any] = _data(config)
    del data["directory"]
    if config.plugin is not None:
        data["plugin"] = located(config.plugin, config.directory)
    data["optimizer"] = _counting("optimizer", data["optimizer"], data["optimizer"])
    params = data["accuracy_aware_training"]
    data["accuracy_aware_training"] = {"mode": config.mode, "params": params}
    data["compression"] = [_algorithm(one) for one in config.compression]
    if not config.input_info:
        del data["input_info"]
    return data


def _algorithm(algorithm: AlgorithmConfig) -> dict[str, Any]:
    data: dict[str, Any] = _data(algorithm)
    params = data["params"]
    if "pruning_flops_target" in params:
        del params["pruning_target"]
    own = _counting(algorithm.algorithm, data, params)
    known = properties(properties(schema(algorithm.algorithm))["params"])
    own["params"] = {key: value for key, value in params.items() if has_effect(known[key], params)}
    return own


def _counting(name: str, data: dict[str, Any], siblings: dict[str, Any]) -> dict[str, Any]:
    known = properties(schema(name))
    return {key: value for key, value in data.items() if has_effect(known[key], siblings)}


def _data(value: Any) -> Any:
    """Dataclasses and mappings as dicts, sequences as lists; what is None is left out."""
    if is_dataclass(value):
        pairs = [(one.name, getattr(value, one.name)) for one in fields(value)]
        return {key: _data(entry) for key, entry in pairs if entry is not None}
    if isinstance(value, Mapping):
        return {key: _data(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_data(entry) for entry in value]
    return value
