"""Classifiers of Hugging Face's transformers: ``hf/resnet``, ``hf/microsoft/resnet-50``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from accaware.config.model.task import TaskConfig, is_file
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
from accaware.pytorch.builtin.classification.models.stems import with_grey_input
from accaware.pytorch.builtin.classification.weights import check_weights_file, unreachable
from accaware.wording import did_you_mean, first_line

_LENGTHS = ("height", "width", "shortest_edge", "longest_edge")
_PROCESSOR = "preprocessor_config.json"
_KINDS = "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"


class ProcessorRecipe:
    """How images were prepared for weights: by their image processor.

    Args:
        processor: of transformers.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._cuts = bool(getattr(processor, "do_center_crop", None))
        size = processor.crop_size if self._cuts else processor.size
        self.size = int(size.height or size.shortest_edge)
        self.mean: tuple[float, ...] = tuple(processor.image_mean)
        self.std: tuple[float, ...] = tuple(processor.image_std)

    def validation(self, size: int) -> Transform:
        """The processor's own way, at its own size or another."""
        return self._prepared if size == self.size else self._prepared_to(size)

    def _prepared(self, image: Any, **changes: Any) -> Any:
        pixels: Tensor = self._processor(image, return_tensors="pt", **changes)["pixel_values"][0]
        return pixels

    def _prepared_to(self, size: int) -> Transform:
        """Every length of the processor's in the same proportion."""
        own = {key: getattr(self._processor.size, key, None) for key in _LENGTHS}
        scaled = {key: round(each * size / self.size) for key, each in own.items() if each}
        return partial(self._prepared, size=scaled, **self._cut_to(size))

    def _cut_to(self, size: int) -> dict[str, Any]:
        return {"crop_size": {"height": size, "width": size}} if self._cuts else {}


class TransformersModel:
    """A classifier of transformers that isn't built yet.

    Args:
        name: without ``hf/``: a kind of model, built by its config's defaults and
            ``model_params``; or a repository of the hub, whose files are in the folder that the
            task's ``weights`` name, or are fetched where it asks for ``pretrained``.
        faults: gets what is wrong with the name and the weights.

    Raises:
        MissingExtraError: transformers isn't installed.
    """

    def __init__(self, name: str, task: TaskConfig, faults: Faults) -> None:
        self._transformers = import_extra("transformers", "transformers")
        self._task = task
        self.name = name
        self.recipe: ProcessorRecipe | None = None
        check_weights_file(task, faults, folders=True)
        self._source = self._checked_source(faults)
        if self._source is not None:
            self.recipe = self._recipe_of(self._source, faults)

    def build(self, classes: int, size: int, channels: int) -> nn.Module:
        """See NamedModel."""
        if self._source is None:
            tell_random(self.name)
            model = self._made(classes, size, channels)
        else:
            model = self._loaded(self._source, classes)
            if channels == 1:
                with_grey_input(model)
                for module in model.modules():
                    if getattr(module, "num_channels", None) == 3:
                        module.num_channels = channels  # type: ignore[assignment]
        check_takes(model, self.name, size, channels)
        fold_weights(model, self.name, size, channels)
        return model

    def _checked_source(self, faults: Faults) -> str | None:
        """A folder, or a repository to be fetched; None for random weights."""
        task, repository = self._task, "/" in self.name
        if task.weights is not None:
            if not is_file(task.weights) or Path(task.weights).is_file():
                faults.add(
                    "weights",
                    f"{task.weights} is no folder; transformers' weights lie in one, with their "
                    "config.json",
                )
            elif Path(task.weights).is_dir() and not Path(task.weights, "config.json").is_file():
                faults.add("weights", f"{task.weights} has no config.json, which tells the model")
            return task.weights
        if repository and not task.pretrained:
            faults.add(
                "weights",
                f"hf/{self.name} is a repository of the hub, and nothing is fetched unasked: name "
                'the folder of its files, or set "pretrained": true',
            )
        elif not repository:
            auto = import_extra("transformers.models.auto.modeling_auto", "transformers")
            kinds = list(getattr(auto, _KINDS))
            if self.name not in kinds:
                near = did_you_mean(self.name, kinds, most=3, quoted="hf/{}".format)
                faults.add(
                    "model",
                    f"hf/{self.name} is no kind of transformers' image classifiers{near}; "
                    "a repository has an owner: hf/microsoft/resnet-50",
                )
            elif task.pretrained:
                faults.add(
                    "pretrained",
                    f"hf/{self.name} is a kind of model; trained weights are a repository's, as "
                    "in hf/microsoft/resnet-50",
                )
        return self.name if task.pretrained else None

    def _recipe_of(self, source: str, faults: Faults) -> ProcessorRecipe | None:
        local = not self._task.pretrained
        if faults or (local and not Path(source, _PROCESSOR).is_file()):
            return None
        try:
            made = self._transformers.AutoImageProcessor.from_pretrained(
                source, local_files_only=local
            )
            return ProcessorRecipe(made)
        except Exception as error:  # noqa: BLE001 - of the hub's and of whatever reads it
            faults.add("weights", f"{_PROCESSOR} of {source} can't be had: {first_line(error)}")
            return None

    def _made(self, classes: int, size: int, channels: int) -> nn.Module:
        params = dict(self._task.model_params)
        config = self._transformers.AutoConfig.for_model(self.name)
        own = {"image_size": size, "num_channels": channels}
        sized = {key: value for key, value in own.items() if hasattr(config, key)}
        unknown = [key for key in params if not hasattr(config, key)]
        if unknown:
            near = did_you_mean(unknown[0], vars(config))
            message = f"{unknown[0]} is nothing that the config of hf/{self.name} has{near}"
            raise TaskError([("model_params", message)])
        try:
            config = self._transformers.AutoConfig.for_model(
                self.name, **{**sized, "num_labels": classes, **params}
            )
            model: nn.Module = self._classifier.from_config(config)
        except Exception as error:
            message = f"hf/{self.name} can't be built with {params}: {first_line(error)}"
            raise TaskError([("model_params" if params else "model", message)]) from error
        return model

    @property
    def _classifier(self) -> Any:
        return self._transformers.AutoModelForImageClassification

    def _loaded(self, source: str, classes: int) -> nn.Module:
        local = not self._task.pretrained
        try:
            theirs = self._transformers.AutoConfig.from_pretrained(
                source, local_files_only=local
            ).num_labels
            model, loading = self._classifier.from_pretrained(
                source,
                local_files_only=local,
                output_loading_info=True,
                num_labels=classes,
                ignore_mismatched_sizes=True,
                **self._task.model_params,
            )
        except Exception as error:
            if local:
                message = f"{source} can't be read: {first_line(error)}"
                raise TaskError([("weights", message)]) from error
            raise unreachable(f"hf/{source}", error) from error
        lacking = sorted(loading["missing_keys"])
        if theirs == classes:
            lacking += sorted(str(key) for key in loading["mismatched_keys"])
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            message = f"{source} doesn't fit {type(model).__name__}: {lacking[0]}{more} is missing"
            raise TaskError([("weights", message)])
        if theirs != classes:
            tell_new_head(self.name, source, theirs, classes)
        made: nn.Module = model
        return made
