"""Checked data to the dataclasses of the model. Nothing here finds fault any more.

A key that has no effect (its schema's x-used-with) is left out, so that a loaded config, and its
resolved form, hold what counts and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from accaware.config.model.config import (
    AlgorithmConfig,
    FilterPruningConfig,
    KnowledgeDistillationConfig,
    MagnitudeSparsityConfig,
    OptimizerConfig,
    RunConfig,
)
from accaware.config.model.file_paths import (
    located_arguments,
    located_plugin,
    with_located_coefficients,
)
from accaware.config.model.quantization import QuantizationConfig
from accaware.config.model.task import task_of
from accaware.config.model.typed import typed
from accaware.config.schema.applicability import Data, counting, with_defaults
from accaware.config.schema.catalog import properties, schema
from accaware.search.params import AdaptiveParams, EarlyExitParams, SearchParams

_CLASSES: dict[str, type[AlgorithmConfig]] = {
    "filter_pruning": FilterPruningConfig,
    "magnitude_sparsity": MagnitudeSparsityConfig,
    "quantization": QuantizationConfig,
    "knowledge_distillation": KnowledgeDistillationConfig,
}


def training(mode: str, params: Data) -> SearchParams:
    """The section `accuracy_aware_training`."""
    own = counting(schema(mode), params)
    if mode == "early_exit":
        return typed(EarlyExitParams, own)
    return typed(AdaptiveParams, own)


def algorithm(data: Data) -> AlgorithmConfig:
    """One entry of `compression`."""
    name = data["algorithm"]
    own = counting(schema(name), data)
    params = own.get("params", {})
    if name == "filter_pruning" and "weight_importance" in params:
        params["filter_importance"] = params.pop("weight_importance")
    if name == "filter_pruning" and params.get("all_weights"):
        params.setdefault("allocation", "global")
    elif name == "filter_pruning" and params.get("allocation") == "global":
        params.setdefault("all_weights", True)
    if name == "magnitude_sparsity" and params.get("schedule") == "multistep":
        levels = with_defaults(properties(schema(name))["params"], params)
        params["sparsity_target"] = levels["multistep_sparsity_levels"][-1]
    return typed(_CLASSES[name], own)


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
    given = counting(schema("optimizer"), data)
    settings = {**hoisted, **given, "optimizer_params": own, "schedule_params": scheduling}
    return typed(OptimizerConfig, settings)


def config(
    data: Data, search: SearchParams, algorithms: tuple[AlgorithmConfig, ...], directory: Path
) -> RunConfig:
    """The whole, from the root's data and the sections built already."""
    settings: Data = {
        key: data[key]
        for key in (
            "batch_size",
            "batch_size_total",
            "sync_batchnorm",
            "num_workers",
            "device",
            "engine",
            "resources_per_trial",
            "maximal_trial_restarts",
            "seed",
            "metric",
            "export",
            "report",
            "trackers",
        )
        if key in data
    }
    if "workers" in data:
        settings["num_workers"] = data["workers"]
    settings["input_info"] = data.get("input_info", data.get("input_infos"))
    plugin = data.get("plugin")
    if "plugin_args" in data:
        settings["plugin_args"] = located_arguments(plugin, data["plugin_args"], directory)
    return typed(
        RunConfig,
        settings,
        accuracy_aware_training=search,
        compression=tuple(with_located_coefficients(one, directory) for one in algorithms),
        plugin=None if plugin is None else located_plugin(plugin, directory),
        optimizer=optimizer(data.get("optimizer", {})),
        task=task_of(data, directory),
        directory=directory,
    )
