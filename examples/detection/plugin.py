"""Boxes around things, by torchvision's RetinaNet (Lin et al. 2017): mean average precision."""

import torch
from torch import nn, tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator


class Detection:
    """Made-up images: a bright square or bar each. Put yours, of any sizes, and your model."""

    def __init__(self, epochs: int = 8, images: int = 96, side: int = 64) -> None:
        self.epochs, self.images, self.side = epochs, images, side

    def create_dataloaders(self):
        draw, batches = torch.Generator().manual_seed(0), []  # of an image each
        for number in range(self.images):
            kind, high = 1 + number % 2, 24 // (1 + number % 2)  # class 0 is the ground
            x, y = torch.randint(self.side // 2, (2,), generator=draw).tolist()
            image = 0.1 * torch.randn(3, self.side, self.side, generator=draw)
            image[kind - 1, y : y + high, x : x + 24] = 1.0
            box = tensor([[x, y, x + 24.0, y + high]])
            batches.append(([image], [{"boxes": box, "labels": tensor([kind])}]))
        return batches[: self.images * 2 // 3], batches[self.images * 2 // 3 :]

    def create_model(self):
        backbone = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, 4, 1), nn.BatchNorm2d(32), nn.ReLU()),
        )
        backbone.out_channels = 32
        sizes, boxes = AnchorGenerator(((24,),), ((0.5, 1.0),)), {"detections_per_img": 10}
        boxes["score_thresh"] = 0.0  # some for any image, which there must be for the example
        model = RetinaNet(backbone, 3, self.side, self.side, anchor_generator=sizes, **boxes)
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

    @torch.no_grad()
    def validate(self, model, validation_loader):
        precision = MeanAveragePrecision()
        for images, targets in validation_loader:
            precision.update(model.eval()(images), targets)
        return 100 * precision.compute()["map"]

    def example_inputs(self):
        return ([torch.rand(3, self.side, self.side)],)
