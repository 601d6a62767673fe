"""A class for every pixel, by LR-ASPP (Howard et al. 2019): mean intersection over union."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.segmentation import LRASPP

CLASSES = 3


class Segmentation:
    """Made-up images: a square and a bar on a ground. Put yours, and your trained model."""

    def __init__(self, epochs: int = 6, images: int = 120, side: int = 32) -> None:
        self.epochs, self.images, self.side = epochs, images, side

    def create_datasets(self):
        draw, side = torch.Generator().manual_seed(0), self.side
        masks = torch.zeros(self.images, side, side, dtype=torch.long)
        for mask in masks:
            x, y, z = torch.randint(side // 2, (3,), generator=draw)
            mask[x : x + side // 3, y : y + side // 3] = 1
            mask[:, z + side // 3 : z + side // 2] = 2
        colours = torch.rand(CLASSES, 3, generator=draw)[masks].movedim(3, 1)
        data = colours + 0.2 * torch.randn(colours.shape, generator=draw)
        half = self.images * 2 // 3
        return TensorDataset(data[:half], masks[:half]), TensorDataset(data[half:], masks[half:])

    def create_model(self):
        first = InvertedResidualConfig(16, 3, 32, 16, True, "RE", 1, 1, 1.0)
        second = InvertedResidualConfig(16, 3, 48, 24, True, "HS", 2, 1, 1.0)
        features = MobileNetV3([first, second], last_channel=32).features
        backbone = IntermediateLayerGetter(features, {"1": "low", "2": "high"})
        model = LRASPP(backbone, 16, 24, CLASSES, 32)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        loader = DataLoader(self.create_datasets()[0], 16, shuffle=True)
        for _ in range(self.epochs):
            for images, masks in loader:
                optimizer.zero_grad()
                self.loss(model(images), masks).backward()
                optimizer.step()
        return model

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs["out"], targets)

    @torch.no_grad()
    def validate(self, model, validation_loader):
        """The mean over classes, in percent."""
        model.eval()
        pairs = [
            CLASSES * masks + model(images)["out"].argmax(1) for images, masks in validation_loader
        ]
        table = torch.cat(pairs).flatten().bincount(minlength=CLASSES**2).view(CLASSES, CLASSES)
        both = table.diag()
        return (100 * both / (table.sum(0) + table.sum(1) - both)).mean()
