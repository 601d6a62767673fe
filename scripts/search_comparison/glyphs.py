"""Letters and digits that Pillow draws in its own font, crooked and noisy, and a small VGG."""

from __future__ import annotations

import string
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from search_comparison.task import Parts, Task

SYMBOLS = string.digits + string.ascii_uppercase
SIZE = 12
NOISE = 0.15
"""Standard deviation, where paper and ink are 1 apart at most."""
COUNTS = (2880, 1080, 1080)
OVERSAMPLED = 4
"""Drawn so many times larger and then reduced, so that a shift needn't be a whole pixel."""


class VGG(nn.Module):
    """(N, 1, S, S) images -> (N, classes) logits: pairs of 3x3 convolutions, halved after each."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for width in widths:
            for _ in range(2):
                convolution = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits


class Glyphs(Task):
    """36 classes, of which some look alike: it can't be solved, and accuracy is at stake."""

    name = "glyphs"
    dense_epochs = 20

    def network(self) -> nn.Module:
        return VGG((16, 32, 64), len(SYMBOLS))

    def make_parts(self) -> Parts:
        random = np.random.default_rng(0)
        return Parts(*(_drawn(random, count) for count in COUNTS))


def _drawn(random: np.random.Generator, count: int) -> TensorDataset:
    """As many of each symbol, or nearly so."""
    classes = np.arange(count) % len(SYMBOLS)
    images = np.stack([_glyph(random, SYMBOLS[each]) for each in classes])
    noisy = images + random.normal(0, NOISE, images.shape)
    pixels = torch.as_tensor(noisy, dtype=torch.float32).unsqueeze(1)
    return TensorDataset(pixels - 0.5, torch.as_tensor(classes))


_font = cache(ImageFont.load_default)


def _glyph(random: np.random.Generator, symbol: str) -> np.ndarray:
    """(SIZE, SIZE) from 0, paper, to 1; fainter ink is less."""
    side = SIZE * OVERSAMPLED
    font = _font(round(side * random.uniform(0.7, 1)))
    canvas = Image.new("L", (side, side))
    shift = side / 2 + random.uniform(-0.08, 0.08, 2) * side
    ImageDraw.Draw(canvas).text(tuple(shift), symbol, fill=255, font=font, anchor="mm")
    turned = canvas.rotate(random.uniform(-15, 15), Image.Resampling.BILINEAR)
    reduced = turned.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(reduced) / 255 * random.uniform(0.5, 1)
