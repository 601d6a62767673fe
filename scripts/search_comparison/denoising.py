"""A regression: the noise is to be taken out of patches of scikit-learn's two photographs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from search_comparison.task import Parts, Task

SIDE = 16
NOISE = 0.1
"""Standard deviation, where black and white are 1 apart."""
TRAINED_WIDTH = 384
"""Columns of a photograph that are trained on; what is right of them is validated on."""
STRIDE = 14
"""From one patch to the next that is trained on; those that are validated on don't overlap."""


class Denoiser(nn.Module):
    """(N, 1, S, S) noisy patches -> (N, 1, S, S) clean ones: the noise is found and taken away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encode = _block(nn.Conv2d(1, width, 3, padding=1, bias=False))
        self.reduce = _block(nn.Conv2d(width, 2 * width, 3, 2, padding=1, bias=False))
        self.inner = nn.Sequential(
            _block(nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
        )
        self.enlarge = _block(nn.ConvTranspose2d(2 * width, width, 2, 2, bias=False))
        self.decode = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, patches: Tensor) -> Tensor:
        features = self.encode(patches)
        reduced = self.reduce(features)
        enlarged = self.enlarge(torch.relu(reduced + self.inner(reduced)))
        noise: Tensor = self.decode(features + enlarged)
        return patches - noise


def _block(convolution: nn.Module) -> nn.Module:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


class Denoising(Task):
    """Root mean squared error, in thousandths of the way from black to white."""

    name = "denoising"
    metric: ClassVar[Mapping[str, Any]] = {"name": "rmse", "higher_is_better": False}
    distillation = "mse"
    optimizer: ClassVar[Mapping[str, Any]] = {"type": "Adam", "base_lr": 0.001}
    dense_epochs = 30
    dense_lr = 0.005

    def network(self) -> nn.Module:
        return Denoiser(width=16)

    def make_parts(self) -> Parts:
        photographs = [image.mean(axis=2) / 255 for image in load_sample_images().images]
        trained = [_patches(photo[:, :TRAINED_WIDTH], STRIDE) for photo in photographs]
        validated = [_patches(photo[:, TRAINED_WIDTH:], SIDE) for photo in photographs]
        random = np.random.default_rng(0)
        mixed = random.permutation(np.concatenate(validated))
        half = len(mixed) // 2
        parts = np.concatenate(trained), mixed[:half], mixed[half:]
        return Parts(*(_noisy(random, part) for part in parts))

    def dense_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), self.dense_lr)

    def train_epoch(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        compression: Any,
    ) -> float:
        """One pass; the mean squared error."""
        model.train()
        losses = []
        for noisy, clean in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(noisy), clean) + compression.loss()
            loss.backward()
            optimizer.step()
            compression.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def validate(self, model: nn.Module, loader: Iterable[Any]) -> float:
        """The metric, over all pixels."""
        return self.metric_of(self.samples(model, loader))

    def samples(self, model: nn.Module, loader: Iterable[Any]) -> Tensor:
        """(N,) the mean squared error of each patch."""
        model.eval()
        with torch.no_grad():
            squares = [(model(noisy) - clean).square() for noisy, clean in loader]
        return torch.cat(squares).double().mean(dim=(1, 2, 3))

    def metric_of(self, samples: Tensor) -> float:
        return 1000 * math.sqrt(samples.mean().item())


def _patches(photograph: np.ndarray, stride: int) -> np.ndarray:
    """(N, SIDE, SIDE) out of (H, W)."""
    windows = np.lib.stride_tricks.sliding_window_view(photograph, (SIDE, SIDE))
    return windows[::stride, ::stride].reshape(-1, SIDE, SIDE)


def _noisy(random: np.random.Generator, patches: np.ndarray) -> TensorDataset:
    """Patches with their noise, the same in each epoch, and without it."""
    noisy = patches + random.normal(0, NOISE, patches.shape)
    both = (torch.as_tensor(part, dtype=torch.float32) for part in (noisy, patches))
    return TensorDataset(*(part.unsqueeze(1) - 0.5 for part in both))
