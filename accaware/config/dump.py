"""A config back to JSON data, with every default that counts written out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from accaware.config.model.config import AlgorithmConfig, RunConfig
from accaware.config.model.file_paths import located_plugin, with_located_coefficients
from accaware.config.rules.initial_phase import INITIAL_LEVELS, SCHEDULE_PARAMS, follows_schedules
from accaware.config.schema.applicability import counting
from accaware.config.schema.catalog import schema


def dump(config: RunConfig) -> dict[str, Any]:
    """Loading the result again gives an equal config, but for ``directory``."""
    data: dict[str, Any] = _data(config)
    del data["directory"]
    if config.engine != "ray":
        _drop(data, ("resources_per_trial", "maximal_trial_restarts"))
    data |= data.pop("task", {})
    if config.plugin is not None:
        data["plugin"] = located_plugin(config.plugin, config.directory)
    data["optimizer"] = counting(schema("optimizer"), data["optimizer"])
    params = counting(schema(config.mode), data["accuracy_aware_training"])
    data["accuracy_aware_training"] = {"mode": config.mode, "params": params}
    data["compression"] = [
        _algorithm(with_located_coefficients(one, config.directory)) for one in config.compression
    ]
    if not follows_schedules(config.accuracy_aware_training):
        for one in data["compression"]:
            _drop(one, INITIAL_LEVELS)
            _drop(one.get("params", {}), SCHEDULE_PARAMS)
    if config.batch_size_total is not None:
        del data["batch_size"]
    if not config.input_info:
        del data["input_info"]
    return data


def _algorithm(algorithm: AlgorithmConfig) -> dict[str, Any]:
    data: dict[str, Any] = _data(algorithm)
    if "pruning_flops_target" in data.get("params", {}):
        del data["params"]["pruning_target"]
    if "allocation" in data.get("params", {}):
        # One of two names, so that changing that changes what is meant.
        by_cost = data["params"]["allocation"] == "cost_aware"
        del data["params"]["all_weights" if by_cost else "allocation"]
    own: dict[str, Any] = counting(schema(algorithm.algorithm), data)
    return own


def _drop(data: dict[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        data.pop(key, None)


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
