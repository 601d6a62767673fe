"""A model and its dataset by their names in a library."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accaware.cli.init.answers import Asked, something
from accaware.config.load import examine_text
from accaware.config.model.task import is_file
from accaware.errors import UsageError
from accaware.extras import import_extra
from accaware.starter import config

PRETRAINED = "pretrained"
"""In the place of a file of weights, for what the library publishes."""

QUESTION = {
    "model": "model",
    "weights": "weights",
    "pretrained": "weights",
    "dataset": "dataset",
    "dataset_dir": "data",
    "download": "data",
}
"""The option that is asked for again, by the key of the config that is refused."""

_FOLDER = "data"
"""Of a dataset, where nobody says anything else."""

_FETCHED = ("cifar10", "cifar100", "mnist", "fashion_mnist")
_EXAMPLES = {"torchvision": "resnet18", "timm": "mobilenetv3_small_100"}


def named_model(asked: Asked, library: str) -> config.Data:
    """The keys of a config that name a model and a dataset which are there.

    Raises:
        UsageError: something is missing or wrong, and there is no terminal to ask at.
    """
    if library == "timm":
        import_extra("timm", "timm")
    options = asked.options
    answers: dict[str, Any] = {
        key: _answer(asked, library, key, getattr(options, key))
        for key in ("model", "weights", "dataset")
    }
    answers["data"] = None
    if answers["dataset"] != "fake":
        answers["data"] = _answer(asked, library, "data", options.data)
    answers["download"] = options.download
    asked.interview.complete()
    while faults := refused(_whole(asked, library, answers), asked.folder):
        for key, why in faults.items():
            option = QUESTION.get(key)
            if option is None:
                raise UsageError(f"{key}: {why}")
            asked.interview.refuse(f"--{option}", why)
            if option == "data":
                answers["data"] = answers["data"] or _FOLDER
                answers |= other_data(asked, answers["dataset"], answers["data"])
            else:
                answers[option] = _answer(asked, library, option, None)
    return _keys(asked, library, answers)


def refused(data: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What a run would refuse in a config whose file is in that folder, by its keys."""
    # Imports torch, which takes seconds: only now that all is answered.
    from accaware.cli.validation.plugin_check import checked_plugin

    # The folder may be still to be made, and through one that isn't there no path leads back.
    there = {
        key: os.path.normpath(folder.absolute() / Path(data[key]).expanduser())
        for key in ("dataset_dir", "weights")
        if key in data and is_file(str(data[key]))
    }
    text = json.dumps({**data, **there})
    outcome = checked_plugin(examine_text(text, "", folder.absolute()))
    return {one.path: one.message for one in outcome.diagnostics if one.severity == "error"}


def other_data(asked: Asked, dataset: str, folder: str) -> dict[str, Any]:
    """Where the data are, if not in that folder: they may also be fetched into it."""
    question = f"Fetch {dataset} into {folder} when the run begins?"
    if dataset in _FETCHED and asked.interview.agrees(question):
        return {"download": True}
    return {"data": _answer(asked, "", "data", None), "download": False}


def weights_of(asked: Asked, answer: str) -> config.Data:
    """The keys that say where a model's weights come from."""
    if answer == PRETRAINED:
        return {"pretrained": True}
    return {"weights": asked.relative(answer) if is_file(answer) else answer}


def _answer(asked: Asked, library: str, key: str, given: str | None) -> str | None:
    questions = {
        "model": f"Which model, as in {_EXAMPLES.get(library)}?",
        "weights": f"The file of its trained weights, or {PRETRAINED} for the library's own",
        "dataset": f"Which dataset ({', '.join(_FETCHED)}, imagenet, image_folder, fake)?",
        "data": "The folder of the data",
    }
    default = _FOLDER if key == "data" else None
    return asked.interview.answer(f"--{key}", given, questions[key], something, default=default)


def _keys(asked: Asked, library: str, answers: Mapping[str, Any]) -> config.Data:
    prefix = "timm/" if library == "timm" else ""
    data = answers["data"]
    return {
        "model": prefix + answers["model"].removeprefix(prefix),
        **weights_of(asked, answers["weights"]),
        "dataset": answers["dataset"],
        **({} if data is None else {"dataset_dir": asked.relative(data)}),
        **({"download": True} if answers["download"] else {}),
    }


def _whole(asked: Asked, library: str, answers: Mapping[str, Any]) -> config.Data:
    keys = _keys(asked, library, answers)
    return config.whole(keys, configured=False, budget=1.0, algorithm="filter_pruning")
