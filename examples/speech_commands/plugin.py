"""Spoken words from the wave itself, by convolutions over time (M5; Dai et al. 2016)."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, SAMPLES = 6, 1000


class SpeechCommands:
    """Made-up words, a melody of three tones each under noise.

    In their place put ``torchaudio.datasets.SPEECHCOMMANDS``, resampled to 8 kHz and cut or
    padded to a second, and a first convolution of kernel 80 and stride 16.
    """

    def __init__(self, width: int = 24, epochs: int = 4, words: int = 360) -> None:
        self.width, self.epochs, self.words = width, epochs, words

    def create_datasets(self):
        draw = torch.Generator().manual_seed(0)
        tones = 0.02 + 0.2 * torch.rand(WORDS, 3, generator=draw)
        classes = torch.randint(WORDS, (self.words,), generator=draw)
        time = torch.arange(SAMPLES)
        waves = torch.sin(2 * torch.pi * tones[classes][..., None] * time).reshape(-1, 3, SAMPLES)
        thirds = nn.functional.one_hot(3 * time // SAMPLES, 3).T
        noise = 0.5 * torch.randn(self.words, 1, SAMPLES, generator=draw)
        data = (waves * thirds).sum(1, keepdim=True) + noise
        half = self.words * 2 // 3
        return TensorDataset(data[:half], classes[:half]), TensorDataset(
            data[half:], classes[half:]
        )

    def create_model(self):
        """Yours would be loaded: ``model.load_state_dict(torch.load("m5.pt"))``."""
        width = self.width
        layers = [
            part
            for inputs, outputs, kernel, stride in ((1, width, 40, 8), (width, 2 * width, 3, 1))
            for part in (
                nn.Conv1d(inputs, outputs, kernel, stride), nn.BatchNorm1d(outputs), nn.ReLU(),
                nn.MaxPool1d(4),
            )
        ]  # fmt: skip
        model = nn.Sequential(
            *layers, nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(6 * width, WORDS)
        )
        optimizer = torch.optim.Adam(model.parameters(), 0.005)
        train, _ = self.create_datasets()
        for _ in range(self.epochs):
            for waves, classes in DataLoader(train, 32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(waves), classes).backward()
                optimizer.step()
        return model
