"""Boxes around things, by torchvision's RetinaNet (Lin et al. 2017): mean average precision."""

from __future__ import annotations

import torch
from torch import nn
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator


class Detection:
    """Made-up images: one bright square or bar each. In their place put yours."""

    def __init__(self, epochs: int = 8, images: int = 96, side: int = 64) -> None:
        self.epochs, self.images, self.side = epochs, images, side

    def create_dataloaders(self):
        """Lists of batches: (images, targets), of images that may have sizes of their own."""
        draw, batches = torch.Generator().manual_seed(0), []
        for number in range(self.images):
            kind, high = 1 + number % 2, 24 // (1 + number % 2)  # class 0 is the ground
            x, y = torch.randint(self.side // 2, (2,), generator=draw).tolist()
            image = 0.1 * torch.randn(3, self.side, self.side, generator=draw)
            image[kind - 1, y : y + high, x : x + 24] = 1.0
            target = {"boxes": torch.tensor([[x, y, x + 24.0, y + high]])}
            target["labels"] = torch.tensor([kind])
            batches += [([], [])] if number % 8 == 0 else []
            batches[-1][0].append(image)
            batches[-1][1].append(target)
        return batches[: len(batches) * 2 // 3], batches[len(batches) * 2 // 3 :]

    def create_model(self):
        """Yours would be loaded: ``model.load_state_dict(torch.load("retinanet.pt"))``."""
        layers = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        backbone = nn.Sequential(*layers)
        backbone.out_channels = 32
        anchors = AnchorGenerator(((16, 24),), ((0.5, 1.0),))
        model = RetinaNet(backbone, 3, self.side, self.side, anchor_generator=anchors)
        optimizer = torch.optim.Adam(model.parameters(), 0.002)
        for _ in range(self.epochs):
            self.train_epoch(model, self.create_dataloaders()[0], optimizer, None)
        return model

    def train_epoch(self, model, train_loader, optimizer, compression):
        model.train()
        for images, targets in train_loader:
            loss = sum(model(images, targets).values())  # it computes its losses itself
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if compression is not None:
                compression.step()
        return float(loss)

    @torch.no_grad()
    def validate(self, model, validation_loader):
        precision = MeanAveragePrecision()
        for images, targets in validation_loader:
            precision.update(model.eval()(images), targets)
        return 100 * precision.compute()["map"]

    def example_inputs(self):
        return ([torch.rand(3, self.side, self.side)],)
