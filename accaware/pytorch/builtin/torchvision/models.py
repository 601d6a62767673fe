"""Classifiers of torchvision by the names that configs have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError

import torch
from torch import nn
from torchvision import models

from accaware.config.model.task import TaskConfig
from accaware.errors import TaskError
from accaware.pytorch.builtin.torchvision.faults import Faults
from accaware.pytorch.builtin.torchvision.stems import SMALL, with_grey_input, with_small_stem
from accaware.pytorch.builtin.torchvision.weights import (
    load_state,
    misfits,
    published,
    read_state,
    unreachable,
)
from accaware.wording import did_you_mean

_FOR_CIFAR = re.compile(r"_(32x32|cifar(10|100)?)$")

# Heads that serve a training from nothing are left out.
_WITHOUT_HEADS = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class NamedModel:
    """A classifier that isn't built yet.

    Args:
        faults: gets what is wrong with the names.
    """

    def __init__(self, task: TaskConfig, faults: Faults) -> None:
        self._task = task
        wanted = (task.model or "").lower()
        self._for_cifar = _FOR_CIFAR.search(wanted) is not None
        self.name = _FOR_CIFAR.sub("", wanted)
        self.weights = None
        known = models.list_models(module=models)
        if task.model is None:
            faults.add("model", "is missing: the name of one of torchvision's classifiers")
        elif self.name not in known:
            faults.add(
                "model",
                f"{task.model} is none of torchvision's classifiers"
                f"{did_you_mean(self.name.lower(), known, most=3)}"
                "; a model of your own needs a plugin",
            )
        else:
            self.weights = published(task, self.name, faults)

    def build(self, classes: int, size: int, channels: int) -> nn.Module:
        """The model for (N, channels, size, size) images, with its weights if it is to have some.

        Prints what isn't torchvision's own about it.

        Raises:
            TaskError: the builder refuses model_params; weights can't be had or don't fit; the
                images are of a size that the model doesn't take.
        """
        model = self._built(classes, size, channels)
        self._try(model, size, channels)
        return model

    def _try(self, model: nn.Module, size: int, channels: int) -> None:
        training = model.training
        try:
            with torch.no_grad():
                model.eval()(torch.zeros(1, channels, size, size))
        except (RuntimeError, AssertionError, ValueError) as error:
            message = f"{self.name} can't take images of {size} pixels: {error}"
            raise TaskError([("input_info", message)]) from error
        model.train(training)

    def _built(self, classes: int, size: int, channels: int) -> nn.Module:
        small = size <= SMALL or self._for_cifar
        if self.weights is not None:
            return self._published(classes, channels)
        if self._task.weights is None:
            print(
                f"{self.name} starts from random weights, so its baseline means little", flush=True
            )
            model = self._made(classes, size)
            if channels == 1:
                with_grey_input(model)
            if small:
                _report_stem(self.name, with_small_stem(model))
            return model
        return self._from_state(self._task.weights, classes, size, channels)

    def _from_state(self, weights: str, classes: int, size: int, channels: int) -> nn.Module:
        """With the stem that the weights were trained with, which their shapes tell.

        Where both fit, it is the one of the model's name.
        """
        state = read_state(weights)
        standard, small = self._made(classes, size), self._made(classes, size)
        if channels == 1:
            with_grey_input(standard)
            with_grey_input(small)
        stem = with_small_stem(small)
        chosen = standard
        preferred = self._for_cifar or bool(misfits(state, standard))
        if stem is not None and preferred and not misfits(state, small):
            chosen = small
        load_state(state, chosen, weights)
        if chosen is small:
            _report_stem(self.name, stem)
        elif size <= SMALL:
            print(f"{self.name} keeps its own stem, as in {weights}", flush=True)
        return chosen

    def _published(self, classes: int, channels: int) -> nn.Module:
        weights: Any = self.weights
        params = {**_WITHOUT_HEADS.get(self.name, {}), **self._task.model_params}
        params.pop("init_weights", None)
        try:
            model: nn.Module = self._called(weights, params)
        except (URLError, OSError) as error:
            raise unreachable(f"{weights} at {weights.url}", error) from error
        theirs = len(weights.meta["categories"])
        if classes != theirs:
            _replace_head(model, theirs, classes)
            print(
                f"{self.name}: {weights} tell {theirs} classes apart, not {classes}; the last "
                "layer is new and untrained",
                flush=True,
            )
        if channels == 1:
            with_grey_input(model)
        return model

    def _made(self, classes: int, size: int) -> nn.Module:
        sized = {"image_size": size} if self.name.startswith("vit_") else {}
        own = {**sized, **_WITHOUT_HEADS.get(self.name, {})}
        return self._called(None, {**own, "num_classes": classes, **self._task.model_params})

    def _called(self, weights: Any, arguments: Mapping[str, Any]) -> nn.Module:
        try:
            model: nn.Module = models.get_model(self.name, weights=weights, **arguments)
        except (TypeError, ValueError, AssertionError) as error:
            params = dict(self._task.model_params)
            message = f"{self.name} can't be built with {params}: {error}"
            raise TaskError([("model_params" if params else "model", message)]) from error
        return model


def _replace_head(model: nn.Module, theirs: int, classes: int) -> None:
    """A new last layer, in place, for another number of classes."""
    last: tuple[nn.Module, str, nn.Module] | None = None
    for parent in model.modules():
        for name, layer in parent.named_children():
            if theirs in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0)):
                last = (parent, name, layer)
    assert last is not None, "every classifier ends in a layer with an output for each class"
    parent, name, layer = last
    new: nn.Module
    if isinstance(layer, nn.Conv2d):
        new = nn.Conv2d(layer.in_channels, classes, 1)  # SqueezeNet's
    else:
        assert isinstance(layer, nn.Linear)
        new = nn.Linear(layer.in_features, classes)
    setattr(parent, name, new)


def _report_stem(name: str, stem: str | None) -> None:
    what = f"a stem for small images: {stem}" if stem else "its own stem, small images or not"
    print(f"{name} has {what}", flush=True)
