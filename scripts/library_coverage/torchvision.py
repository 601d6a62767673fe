"""All classifiers of torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torchvision import models

from library_coverage.candidate import Candidate, images

_SIDE = 64
"""Pixels; what takes others is below: (while pruning, as published)."""
_SIDES = {
    "inception_v3": (299, 299),  # its auxiliary head takes nothing smaller
    "maxvit_t": (224, 224),
    "vit_b_16": (32, 224),
    "vit_b_32": (64, 224),
    "vit_h_14": (28, 224),
    "vit_l_16": (32, 224),
    "vit_l_32": (64, 224),
}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}


class Torchvision:
    """The models of ``torchvision.models`` that tell classes apart."""

    def names(self) -> Sequence[str]:
        return models.list_models(module=models)

    def candidate(self, name: str) -> Candidate:
        side, published = _SIDES.get(name, (_SIDE, 224))
        sized = name.startswith("vit_")  # whose parameters depend on the resolution

        def make(image_size: int) -> Any:
            own = {"image_size": image_size} if sized else {}
            return models.get_model(name, weights=None, **own, **_ARGUMENTS.get(name, {}))

        return Candidate(
            partial(make, side),
            images(side),
            None if sized else images(side + 32),
            (partial(make, published), images(published, samples=1)),
        )
