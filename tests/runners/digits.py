"""Softmax regression on scikit-learn's digits with magnitude sparsity, in NumPy: real training."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from accaware.search.metric import DenseReferences
from accaware.search.params import AdaptiveParams
from accaware.search.ports import TrainingCallbacks
from accaware.search.schedules.scheduler import CompressionScheduler
from accaware.search.schedules.schedules import Polynomial
from tests.runners.base import CallbackRunner, Case, Optimizer

Array = NDArray[np.float64]
BATCH = 32
TRAINING_IMAGES = 1200


class SoftmaxRegression:
    """64 pixels to 10 digits. ``weights`` are dense; where ``mask`` is 0 they have no effect."""

    def __init__(self) -> None:
        self.weights: Array = np.random.default_rng(0).normal(scale=0.01, size=(64, 10))
        self.bias: Array = np.zeros(10)
        self.mask: Array = np.ones((64, 10))

    def probabilities(self, images: Array) -> Array:
        scores = images @ (self.weights * self.mask) + self.bias
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
        return shares


class MagnitudeSparsity:
    """Masks the weights of the smallest magnitudes; the dense values are kept for later."""

    maximal_compression_rate = 1.0
    model_sparsity = None

    def __init__(self, model: SoftmaxRegression) -> None:
        self._model = model
        self.scheduler = CompressionScheduler(
            Polynomial(init=0.0, target=0.5, duration=1), self._mask
        )

    def _mask(self, rate: float) -> None:
        order = np.argsort(np.abs(self._model.weights), axis=None, kind="stable")
        mask = np.ones(order.size)
        mask[order[: round(rate * order.size)]] = 0
        self._model.mask = mask.reshape(self._model.weights.shape)

    @property
    def compression_rate(self) -> float:
        return float(1 - self._model.mask.mean())

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        self._mask(target)

    def create_runner(
        self,
        model: SoftmaxRegression,
        callbacks: TrainingCallbacks,
        log_dir: str | None,
        references: DenseReferences | None = None,
    ) -> NumpyRunner:
        return NumpyRunner(model, self, callbacks, references)


class NumpyRunner(CallbackRunner):
    def state(self) -> dict[str, Array]:
        return vars(self.model)

    def restore(self, state: dict[str, Array]) -> None:
        vars(self.model).update(state)


@cache
def digits() -> tuple[Array, NDArray[np.int64]]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return images[order] / 16, labels[order]


def train(
    controller: Any, model: SoftmaxRegression, *, epoch: int, optimizer: Optimizer, **_: Any
) -> float:
    """One epoch of stochastic gradient descent; the mean cross entropy."""
    images, labels = (part[:TRAINING_IMAGES] for part in digits())
    order = np.random.default_rng(epoch).permutation(TRAINING_IMAGES)
    losses = []
    for batch in np.split(order, range(BATCH, TRAINING_IMAGES, BATCH)):
        shares = model.probabilities(images[batch])
        rows = np.arange(len(batch))
        losses.append(-np.log(shares[rows, labels[batch]] + 1e-12).mean())
        shares[rows, labels[batch]] -= 1
        gradient = images[batch].T @ shares / len(batch)
        model.weights -= optimizer.learning_rate * gradient * model.mask
        model.bias -= optimizer.learning_rate * shares.mean(axis=0)
        if controller is not None:
            controller.scheduler.step()
    return float(np.mean(losses))


def accuracy(model: SoftmaxRegression, epoch: int = 0) -> float:
    images, labels = (part[TRAINING_IMAGES:] for part in digits())
    return float((model.probabilities(images).argmax(axis=1) == labels).mean())


def make_case() -> Case:
    """Ten epochs of training, 2 points of accuracy to lose."""
    model = SoftmaxRegression()
    for epoch in range(10):
        train(None, model, epoch=epoch, optimizer=Optimizer(0.5))
    return Case(
        model=model,
        controller=MagnitudeSparsity(model),
        callbacks=TrainingCallbacks(
            train_epoch_fn=train,
            validate_fn=accuracy,
            configure_optimizers_fn=lambda: Optimizer(0.5),
        ),
        params=AdaptiveParams(
            maximal_absolute_accuracy_degradation=0.02,
            initial_training_phase_epochs=3,
            patience_epochs=3,
        ),
        baseline=accuracy(model),
        measure=lambda: float(np.mean(model.weights * model.mask == 0)),
        learning_rate=lambda optimizer: optimizer.learning_rate,
        closeness=1 / 640,
    )
