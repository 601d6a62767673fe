"""What every library's file here offers: a classifier that isn't built yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from accaware.errors import TaskError
from accaware.pytorch.weights.folding import fold_computed_weights

Transform = Callable[[Any], Any]


class ImageRecipe(Protocol):
    """How images were prepared when a model's weights were validated.

    Attributes:
        size: of a side, in pixels.
        mean, std: by channel, of values from 0 to 1.
    """

    @property
    def size(self) -> int: ...  # noqa: D102 - above

    @property
    def mean(self) -> Sequence[float]: ...  # noqa: D102 - above

    @property
    def std(self) -> Sequence[float]: ...  # noqa: D102 - above

    def validation(self, size: int) -> Transform:
        """From a PIL image of as many channels as these weights take to a tensor of that size."""


class NamedModel(Protocol):
    """A classifier of a library, whose name was found."""

    @property
    def recipe(self) -> ImageRecipe | None:
        """Of its weights; None where these are random, or say nothing of it."""

    def build(self, classes: int, size: int, channels: int) -> nn.Module:
        """The model for (N, channels, size, size) images, with its weights if it is to have some.

        Prints what isn't the library's own about it.

        Raises:
            TaskError: the library refuses model_params; weights can't be had or don't fit; the
                images are of a size that the model doesn't take.
        """


def check_takes(model: nn.Module, name: str, size: int, channels: int) -> None:
    """Run it once on an empty image.

    Raises:
        TaskError: it can't take images of that size.
    """
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        message = f"{name} can't take images of {size} pixels: {error}"
        raise TaskError([("input_info", message)]) from error
    model.train(training)


def fold_weights(model: nn.Module, name: str, size: int, channels: int) -> None:
    """Store the weights that layers compute in each forward, as ``fold_computed_weights`` says.

    As they are, such layers could lose no inputs, and have no zeros and no integers.
    """
    noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    folded = fold_computed_weights(model, noise)
    if folded:
        print(
            f"{name}: {len(folded)} layers that standardise their weights in each forward hold "
            "the outcome from here on",
            flush=True,
        )


def tell_random(name: str) -> None:
    """That a model begins with weights which nobody trained."""
    print(f"{name} starts from random weights, so its baseline means little", flush=True)


def tell_new_head(name: str, weights: object, theirs: int, classes: int) -> None:
    """That the weights are of another number of classes."""
    print(
        f"{name}: {weights} tell {theirs} classes apart, not {classes}; the last layer is new "
        "and untrained",
        flush=True,
    )
