"""A small ResNet on scikit-learn's handwritten digits: real data that needs no download.

1,797 images of 8x8 pixels in 10 classes (Alpaydin and Kaynak, "Optical Recognition of
Handwritten Digits", 1998). A fifth of them, stratified by class, is held out for validation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from accaware.errors import PluginContractError

_EPOCHS = 12
_BATCH = 64


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, inputs, H, W) -> (N, outputs, H/s, W/s)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, width, H', W') features, the shortcut's added."""
        inner = torch.relu(self.bn1(self.conv1(images)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(images))


class DigitsResNet(nn.Module):
    """(N, 1, 8, 8) images -> (N, 10) logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            ResidualBlock(width, width, 1),
            ResidualBlock(width, 2 * width, 2),
            ResidualBlock(2 * width, 4 * width, 2),
        )
        self.classifier = nn.Linear(4 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 8, 8) images to (N, 10) logits."""
        features: Tensor = self.blocks(self.stem(images))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class Digits:
    """The demo's plugin; it trains its model itself, as no trained one can be shipped.

    Args:
        width: filters of the first convolution; the last block has four times as many.
        epochs: of the dense model's training.
    """

    def __init__(self, width: int = 48, epochs: int = _EPOCHS) -> None:
        self._width = width
        self._epochs = epochs

    def create_model(self) -> nn.Module:
        """The network, trained from nothing for the epochs that ``plugin_args`` says."""
        # Too small to gain from sharing its work among threads, and on a busy machine it loses
        # much; one thread also gives the same numbers whatever the number of cores.
        torch.set_num_threads(1)
        print(f"Training the dense model for {self._epochs} epochs ...", flush=True)
        model = DigitsResNet(self._width)
        train, _ = self.create_datasets()
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        steps = self._epochs * -(-len(train) // _BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        model.train()
        for _ in range(self._epochs):
            for images, classes in DataLoader(train, _BATCH, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), classes)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        return model

    def create_datasets(self) -> tuple[TensorDataset, TensorDataset]:
        """scikit-learn's digits: four fifths to train on, one to validate on, the same each time.

        Raises:
            PluginContractError: scikit-learn isn't installed.
        """
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise PluginContractError(
                'the digits need scikit-learn: pip install "accaware[demo]"'
            ) from error
        images, classes = load_digits(return_X_y=True)
        parts = train_test_split(images, classes, test_size=0.2, random_state=0, stratify=classes)
        train_images, validation_images, train_classes, validation_classes = parts
        return (
            _dataset(train_images, train_classes),
            _dataset(validation_images, validation_classes),
        )


def _dataset(images: object, classes: object) -> TensorDataset:
    """(N, 64) pixels from 0 to 16 and (N,) classes."""
    pixels = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return TensorDataset((pixels - 8) / 8, torch.as_tensor(classes))
