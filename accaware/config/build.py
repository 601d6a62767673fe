"""Checked data to the dataclasses of the model. Nothing here finds fault any more.

A key that has no effect (its schema's x-used-with) is left out, so that a loaded config, and its
resolved form, hold what counts and nothing else.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from accaware.config.catalog import Schema, properties, schema
from accaware.config.model import (
    AccAwareConfig,
    AlgorithmConfig,
    BatchNormAdaptation,
    FilterPruningConfig,
    FilterPruningParams,
    Initializer,
    InputInfo,
    MagnitudeSparsityConfig,
    MagnitudeSparsityParams,
    Metric,
    OptimizerConfig,
)
from accaware.config.notices import has_effect, with_defaults
from accaware.config.plugin_path import located
from accaware.search.params import AdaptiveParams, EarlyExitParams, SearchParams

Data = dict[str, Any]


def training(data: Data) -> SearchParams:
    """The section `accuracy_aware_training`."""
    if data["mode"] == "early_exit":
        return EarlyExitParams(**_arguments(EarlyExitParams, data["params"]))
    return AdaptiveParams(**_arguments(AdaptiveParams, data["params"]))


def algorithm(data: Data) -> AlgorithmConfig:
    """One entry of `compression`."""
    of = schema(data["algorithm"])
    params_of = properties(of)["params"]
    given = data.get("params", {})
    resolved = with_defaults(params_of, given)
    params = _counting(params_of, given, resolved)
    common = {
        "ignored_scopes": _scopes(data.get("ignored_scopes", [])),
        "target_scopes": _scopes(data["target_scopes"]) if "target_scopes" in data else None,
        "initializer": _initializer(data.get("initializer", {})),
    }
    own = _counting(of, data, resolved)
    if data["algorithm"] == "filter_pruning":
        if "weight_importance" in params:
            params["filter_importance"] = params.pop("weight_importance")
        return FilterPruningConfig(
            **_arguments(FilterPruningConfig, {**own, **common, "params": None}),
            params=FilterPruningParams(**_arguments(FilterPruningParams, params)),
        )
    if resolved["schedule"] == "multistep":
        levels: list[float] = resolved["multistep_sparsity_levels"]
        params["sparsity_target"] = levels[-1]
    return MagnitudeSparsityConfig(
        **_arguments(MagnitudeSparsityConfig, {**own, **common, "params": None}),
        params=MagnitudeSparsityParams(**_arguments(MagnitudeSparsityParams, params)),
    )


def optimizer(data: Data) -> OptimizerConfig:
    """NNCF's samples know several homes for a learning rate; here it has one."""
    own = dict(data.get("optimizer_params", {}))
    scheduling = dict(data.get("schedule_params", {}))
    scheduling.pop("mode", None)  # of plateau; the metric's direction says it
    hoisted = {
        key: scheduling.pop(key)
        for key in ("base_lr", "steps", "step", "gamma", "power")
        if key in scheduling
    }
    if "lr" in own:
        hoisted["base_lr"] = own.pop("lr")
    if "weight_decay" in own:
        hoisted["weight_decay"] = own.pop("weight_decay")
    given = _counting(schema("optimizer"), data, data)
    settings = {**hoisted, **given, "optimizer_params": own, "schedule_params": scheduling}
    return OptimizerConfig(**_arguments(OptimizerConfig, settings))


def config(
    data: Data, search: SearchParams, algorithms: tuple[AlgorithmConfig, ...], directory: Path
) -> AccAwareConfig:
    """The whole, from the root's data and the sections built already."""
    inputs: Any = data.get("input_info", data.get("input_infos", []))
    plugin = data.get("plugin")
    settings: Data = {
        key: data[key]
        for key in ("batch_size", "num_workers", "device", "seed", "log_dir", "plugin_args")
        if key in data
    }
    return AccAwareConfig(
        accuracy_aware_training=search,
        compression=algorithms,
        metric=Metric(**data.get("metric", {})),
        plugin=None if plugin is None else located(plugin, directory),
        input_info=tuple(
            InputInfo(sample_size=tuple(int(size) for size in one["sample_size"]))
            for one in (inputs if isinstance(inputs, list) else [inputs])
        ),
        optimizer=optimizer(data.get("optimizer", {})),
        directory=directory,
        **_arguments(AccAwareConfig, settings),
    )


def _counting(of: Schema, data: Data, siblings: Data) -> Data:
    known = properties(of)
    return {key: value for key, value in data.items() if has_effect(known[key], siblings)}


def _initializer(data: Data) -> Initializer:
    adaptation = data.get("batchnorm_adaptation")
    if adaptation is None:
        return Initializer()
    arguments = _arguments(BatchNormAdaptation, adaptation)
    return Initializer(batchnorm_adaptation=BatchNormAdaptation(**arguments))


def _scopes(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _arguments(of: type[Any], data: Data) -> Data:
    """The entries of ``data`` that ``of`` has fields for, in the fields' own types.

    JSON has one kind of number: 1e4 may be written for an integer and 1 for a float.
    """
    return {
        one.name: _typed(data[one.name], str(one.type))
        for one in fields(of)
        if data.get(one.name) is not None
    }


def _typed(value: Any, annotation: str) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        entry = annotation.removeprefix("tuple[").split(",")[0]
        return tuple(_typed(one, entry) for one in value)
    if isinstance(value, int | float):
        return int(value) if annotation.startswith("int") else float(value)
    return value
