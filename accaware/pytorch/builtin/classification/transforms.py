"""From an image to what the model sees: augmented for training, plain for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms import v2

from accaware.pytorch.builtin.classification.datasets import DatasetKind
from accaware.pytorch.builtin.classification.models.named_model import ImageRecipe, Transform

_CROP = 0.875
"""Of an image's shorter side, what validation looks at where nothing else is known."""

_USUAL_SIZE = 224


@dataclass(frozen=True)
class Preprocessing:
    """How a dataset's images become (channels, size, size) tensors.

    Attributes:
        recipe: of published weights, whose own way of validation is kept; None for other ones.
    """

    kind: DatasetKind
    size: int
    channels: int
    recipe: ImageRecipe | None

    @classmethod
    def of(
        cls,
        kind: DatasetKind,
        size: int | None,
        channels: int | None,
        recipe: ImageRecipe | None,
    ) -> Preprocessing:
        """What isn't given is the published weights', or else the dataset's."""
        if size is None:
            size = kind.size or _USUAL_SIZE if recipe is None else recipe.size
        return cls(kind, size, channels or 3, recipe)

    def training(self) -> Transform:
        """The dataset's standard augmentation.

        Photographs: a random part of them, mirrored or not (Szegedy et al. 2015). Small images:
        shifted by up to an eighth, mirrored or not (He et al. 2015).
        """
        mirror = [v2.RandomHorizontalFlip()] if self.kind.mirrored else []
        if self.kind.size is None:
            crop: list[Any] = [v2.RandomResizedCrop(self.size, antialias=True)]
        else:
            crop = [*self._to_size(), v2.RandomCrop(self.size, padding=self.size // 8)]
        return _composed([*self._grey(), *crop, *mirror, *self._tensor()])

    def validation(self) -> Transform:
        """The published weights' own, at the size wanted; else the middle of an image."""
        if self.recipe is not None:
            return _composed([*self._grey(), self.recipe.validation(self.size)])
        if self.kind.size is not None:
            return _composed([*self._grey(), *self._to_size(), *self._tensor()])
        larger = round(self.size / _CROP)
        middle = [v2.Resize(larger, antialias=True), v2.CenterCrop(self.size)]
        return _composed([*self._grey(), *middle, *self._tensor()])

    def _grey(self) -> list[Any]:
        """Grey images for a model of colours, and the other way round."""
        if self.kind.channels == self.channels:
            return []
        return [v2.Grayscale(num_output_channels=self.channels)]

    def _to_size(self) -> list[Any]:
        if self.kind.size == self.size:
            return []
        return [v2.Resize((self.size, self.size), antialias=True)]

    def _tensor(self) -> list[Any]:
        known = self.kind if self.recipe is None else self.recipe
        return [
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(_for(known.mean, self.channels), _for(known.std, self.channels)),
        ]


def _for(values: Sequence[float], channels: int) -> list[float]:
    """By channel, for as many channels as there are."""
    if len(values) == channels:
        return list(values)
    return [sum(values) / len(values)] * channels


def _composed(steps: list[Any]) -> Transform:
    composed: Transform = v2.Compose(steps)
    return composed
