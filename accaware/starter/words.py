"""What a first config says of its keys: of the usual ones a hint, else the schema's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accaware.config.schema.catalog import Schema, properties, schema
from accaware.config.text.paths import KeyPath
from accaware.starter.commented import Blank, Comment
from accaware.starter.plugins import MARK

_ALGORITHMS = {
    "filter_pruning": "whole filters go: smaller and faster everywhere",
    "magnitude_sparsity": "single weights become zero: a smaller file",
    "quantization": "weights and activations in 8 bits: fast where the hardware has integers",
    "knowledge_distillation": "the dense model teaches the compressed one",
}

_HINTS = {
    "model": "of torchvision, timm (timm/...) or transformers (hf/...)",
    "plugin": "your model and your data: fill in what is marked there",
    "weights": "of the trained model: a state dict, or a name of the library's",
    "pretrained": "start from the weights that the library publishes",
    "dataset": "or cifar100, mnist, fashion_mnist, imagenet, image_folder, or fake for a try",
    "dataset_dir": "its folder, relative to this file",
    "download": "fetch the data when the run begins",
    "batch_size": "samples of a training step",
    "base_lr": "about what your training ended with: the model is trained already",
    "mode": None,
    "maximal_relative_accuracy_degradation": "what may be lost, in percent of the model's accuracy",
    "patience_epochs": "that a trial is trained for at the most; more find smaller models",
    "preset": "what was measured to do best; accaware validate-config --resolved shows it",
    "plugin_args": None,
    "optimizer_params": None,
    "module": "the class of your LightningModule",
    "datamodule": "the class of its data; leave it out where the module has the data loaders",
    "monitor": "what its validation logs: the metric that the budget is about",
    "checkpoint": "of Lightning, with the trained weights",
}


def words_for(data: Mapping[str, Any]) -> Comment:
    """What is to be said of each key of a config."""

    def comment(path: KeyPath, value: Any) -> str | None:
        key = path[-1]
        if key == "algorithm":
            return _ALGORITHMS.get(value)
        if (key, value) == ("plugin", "accaware.lightning"):
            return "trains a LightningModule by its own steps"
        if isinstance(value, Blank):
            return f"{MARK}: {_HINTS.get(str(key))}"
        if isinstance(key, str) and key in _HINTS:
            return None if path[0] == "compression" else _HINTS[key]
        if isinstance(value, Mapping):
            return None
        said: str | None = _schema_of(path, data).get("description")
        return said[:1].lower() + said[1:] if said else None

    return comment


def _schema_of(path: KeyPath, data: Mapping[str, Any]) -> Schema:
    """The schema of the value at a path, of the mode's or the algorithm's own where it is there."""
    section: Any = data
    found: Schema = schema("config")
    for end, key in enumerate(path, 1):
        section = section[key]
        found = {} if isinstance(key, int) else properties(found).get(key, {})
        if path[0] == "compression" and isinstance(section, Mapping) and "algorithm" in section:
            found = schema(section["algorithm"])
        elif path[:end] == ("accuracy_aware_training", "params"):
            found = schema(data["accuracy_aware_training"]["mode"])
    return found
