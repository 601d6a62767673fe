"""Classifiers of timm, such as ``timm/mobilenetv4_conv_small.e2400_r224_in1k``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from accaware.config.model.task import TaskConfig, is_address, is_file
from accaware.errors import TaskError
from accaware.extras import import_extra
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.pytorch.builtin.classification.models.named_model import (
    Transform,
    check_takes,
    fold_weights,
    tell_new_head,
    tell_random,
)
from accaware.pytorch.builtin.classification.weights import (
    State,
    check_weights_file,
    load_state,
    read_state,
    unreachable,
)
from accaware.wording import did_you_mean, first_line


class DataConfigRecipe:
    """How timm validates weights: by their data config.

    Args:
        config: as ``timm.data.resolve_data_config`` gives it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self.size: int = config["input_size"][-1]
        self.mean: tuple[float, ...] = tuple(config["mean"])
        self.std: tuple[float, ...] = tuple(config["std"])

    def validation(self, size: int) -> Transform:
        """Of ``timm.data.create_transform``; at another size, the same share of an image."""
        own = {**self._config, "input_size": (len(self.mean), size, size)}
        made: Transform = import_extra("timm.data", "timm").create_transform(**own)
        return made


class TimmModel:
    """A classifier of timm that isn't built yet.

    What stands behind the point of its name tells timm's trained weights apart. They are fetched
    where the task asks for ``pretrained``, and never else.

    Args:
        name: without ``timm/``.
        faults: gets what is wrong with the name and the weights.

    Raises:
        MissingExtraError: timm isn't installed.
    """

    def __init__(self, name: str, task: TaskConfig, faults: Faults) -> None:
        self._timm = import_extra("timm", "timm")
        self._task = task
        self.name = name
        self.recipe: DataConfigRecipe | None = None
        check_weights_file(task, faults, folders=True)
        if not self._is_known(faults):
            return
        self._published = self._timm.get_pretrained_cfg(name) or self._timm.models.DefaultCfg()
        weights = task.weights
        if weights is not None and not is_file(weights) and not is_address(weights):
            faults.add(
                "weights",
                f"{weights} is no file, folder or address; timm's own weights are those of the "
                'model\'s name, as in timm/resnet18.a1_in1k, with "pretrained": true',
            )
        if task.pretrained and not self._published.has_weights:
            faults.add("pretrained", f"timm has no trained weights for {name}")
        if task.pretrained or weights is not None:
            self.recipe = self._recipe_of(weights, faults)

    def build(self, classes: int, size: int, channels: int) -> nn.Module:
        """See NamedModel."""
        model = self._built(classes, size, channels)
        check_takes(model, self.name, size, channels)
        fold_weights(model, self.name, size, channels)
        return model

    def _is_known(self, faults: Faults) -> bool:
        architecture, _, tag = self.name.partition(".")
        known = self._timm.list_models()
        if architecture not in known:
            near = did_you_mean(architecture, known, most=3, quoted="timm/{}".format)
            faults.add("model", f"timm/{self.name} is none of timm's models{near}")
            return False
        tags = [name.partition(".")[2] for name in self._timm.list_pretrained(f"{architecture}.*")]
        if tag and tag not in tags:
            near = did_you_mean(tag, tags, most=3) or f"; there are {', '.join(tags) or 'none'}"
            faults.add("model", f"timm has no weights {tag} of {architecture}{near}")
            return False
        return True

    def _recipe_of(self, weights: str | None, faults: Faults) -> DataConfigRecipe:
        """By the weights' folder, which may tell; else by the model's name."""
        config = self._published.to_dict()
        file = Path(weights or "", "config.json")
        if weights is not None and file.is_file():
            try:
                config |= json.loads(file.read_text(encoding="utf-8")).get("pretrained_cfg", {})
            except (OSError, ValueError, AttributeError, TypeError) as error:
                faults.add("weights", f"{file} can't be read: {first_line(error)}")
        data = import_extra("timm.data", "timm")
        return DataConfigRecipe(data.resolve_data_config(pretrained_cfg=config))

    def _built(self, classes: int, size: int, channels: int) -> nn.Module:
        if self._task.pretrained:
            return self._fetched(classes, size, channels)
        if self._task.weights is None:
            tell_random(self.name)
            return self._made(classes, size, channels)
        return self._from_state(self._task.weights, classes, size, channels)

    def _fetched(self, classes: int, size: int, channels: int) -> nn.Module:
        self._made(classes, size, channels)  # so that what is wrong below is the network's
        try:
            model = self._created(classes, size, channels, pretrained=True)
        except Exception as error:
            raise unreachable(f"timm's weights of {self.name}", error) from error
        if classes != self._published.num_classes:
            tell_new_head(self.name, "timm's weights", self._published.num_classes, classes)
        return model

    def _from_state(self, weights: str, classes: int, size: int, channels: int) -> nn.Module:
        """With the weights' own number of classes first: the rest has to fit whatever that is."""
        state = read_state(weights)
        self._adapt_to(channels, state)
        theirs = self._classes_of(state)
        model = self._made(theirs or classes, size, channels)
        load_state(state, model, weights)
        if theirs is not None and theirs != classes:
            model.reset_classifier(classes)  # type: ignore[operator]
            tell_new_head(self.name, weights, theirs, classes)
        return model

    def _adapt_to(self, channels: int, state: State) -> None:
        first = self._published.first_conv
        key = f"{first}.weight"
        if isinstance(first, str) and key in state and state[key].shape[1] == 3 != channels:
            state[key] = self._timm.models.adapt_input_conv(channels, state[key])

    def _classes_of(self, state: State) -> int | None:
        heads = self._published.classifier
        head = heads[0] if isinstance(heads, (tuple, list)) else heads
        weight = state.get(f"{head}.weight")
        return None if weight is None else len(weight)

    def _made(self, classes: int, size: int, channels: int) -> nn.Module:
        try:
            return self._created(classes, size, channels)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            params = dict(self._task.model_params)
            message = f"{self.name} can't be built with {params}: {first_line(error)}"
            raise TaskError([("model_params" if params else "model", message)]) from error

    def _created(
        self, classes: int, size: int, channels: int, *, pretrained: bool = False
    ) -> nn.Module:
        own: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
        if self._published.fixed_input_size:
            own["img_size"] = size
        own |= self._task.model_params
        model: nn.Module = self._timm.create_model(self.name, pretrained=pretrained, **own)
        return model
