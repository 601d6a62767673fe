"""Classifiers of torchvision by the names that configs have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError

from torch import nn
from torchvision import models

from accaware.config.model.task import TaskConfig, is_address, is_file
from accaware.errors import TaskError
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.pytorch.builtin.classification.models.named_model import (
    Transform,
    check_takes,
    tell_new_head,
    tell_random,
)
from accaware.pytorch.builtin.classification.models.stems import (
    SMALL,
    with_grey_input,
    with_small_stem,
)
from accaware.pytorch.builtin.classification.weights import (
    check_weights_file,
    load_state,
    misfits,
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


class PublishedRecipe:
    """How torchvision validates its weights.

    Args:
        weights: a member of one of torchvision's enumerations.
    """

    def __init__(self, weights: Any) -> None:
        self.weights = weights
        own = weights.transforms()
        self.size: int = own.crop_size[0]
        self.mean, self.std = tuple(own.mean), tuple(own.std)
        self._resized = own.resize_size[0]

    def validation(self, size: int) -> Transform:
        """Its own preset; at another size, the same share of an image."""
        larger = round(size * self._resized / self.size)
        preset: Transform = self.weights.transforms(crop_size=size, resize_size=larger)
        return preset


class TorchvisionModel:
    """A classifier of torchvision that isn't built yet.

    Args:
        faults: gets what is wrong with the names.
    """

    def __init__(self, task: TaskConfig, faults: Faults) -> None:
        self._task = task
        wanted = (task.model or "").lower()
        self._for_cifar = _FOR_CIFAR.search(wanted) is not None
        self.name = _FOR_CIFAR.sub("", wanted)
        self.recipe: PublishedRecipe | None = None
        check_weights_file(task, faults)
        known = models.list_models(module=models)
        if task.model is None:
            faults.add(
                "model", "is missing: one of torchvision's classifiers, or timm/... or hf/..."
            )
        elif self.name not in known:
            faults.add(
                "model",
                f"{task.model} is none of torchvision's classifiers"
                f"{did_you_mean(self.name.lower(), known, most=3)}"
                "; a model of your own needs a plugin",
            )
        else:
            weights = _published_weights(task, self.name, faults)
            self.recipe = None if weights is None else PublishedRecipe(weights)

    def build(self, classes: int, size: int, channels: int) -> nn.Module:
        """See NamedModel."""
        model = self._built(classes, size, channels)
        check_takes(model, self.name, size, channels)
        return model

    def _built(self, classes: int, size: int, channels: int) -> nn.Module:
        small = size <= SMALL or self._for_cifar
        if self.recipe is not None:
            return self._published(self.recipe.weights, classes, channels)
        if self._task.weights is None:
            tell_random(self.name)
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

    def _published(self, weights: Any, classes: int, channels: int) -> nn.Module:
        params = {**_WITHOUT_HEADS.get(self.name, {}), **self._task.model_params}
        params.pop("init_weights", None)
        try:
            model: nn.Module = self._called(weights, params)
        except (URLError, OSError) as error:
            raise unreachable(f"{weights} at {weights.url}", error) from error
        theirs = len(weights.meta["categories"])
        if classes != theirs:
            _replace_head(model, theirs, classes)
            tell_new_head(self.name, weights, theirs, classes)
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


def _published_weights(task: TaskConfig, model: str, faults: Faults) -> Any:
    """The weights of torchvision that a task asks for, a member of an enum; None for none."""
    choices = models.get_model_weights(model)
    if task.pretrained:
        # What "pretrained" has always meant, where a model has it.
        return getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)
    if task.weights is None or is_file(task.weights) or is_address(task.weights):
        return None
    owner, _, name = task.weights.rpartition(".")
    known = [one.name for one in choices]
    if owner in ("", choices.__name__) and (name == "DEFAULT" or name in known):
        return choices[name]
    faults.add(
        "weights",
        f"{task.weights} is neither a file's name nor one of torchvision's for {model}, which are "
        f"DEFAULT, {', '.join(known)}",
    )
    return None
