"""A training step of the pruned network: against the dense one and one built small by hand.

ResNet-18 for 32x32 inputs, batch 16, half the filters of every group removed, SGD with momentum.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from measure import medians, show
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from accaware import AccAwareConfig
from accaware.pytorch import create_compressed_model

REPEATS = 30
CONFIG = AccAwareConfig.from_dict(
    {
        "accuracy_aware_training": {
            "mode": "early_exit",
            "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
        },
        "compression": {
            "algorithm": "filter_pruning",
            "params": {"prune_first_conv": True, "prune_downsample_convs": True},
        },
    }
)


def resnet18(width: int) -> ResNet:
    """ResNet-18 with a stem for 32x32 inputs; ``width`` filters first, 64 in the original."""
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10)
    model.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
    model.bn1 = nn.BatchNorm2d(width)
    model.maxpool = nn.Identity()
    model.inplanes = width
    for stage, stride in enumerate((1, 2, 2, 2)):
        layer = model._make_layer(BasicBlock, width * 2**stage, 2, stride=stride)
        setattr(model, f"layer{stage + 1}", layer)
    model.fc = nn.Linear(8 * width, 10)
    return model


def stepper(model: nn.Module, images: Tensor, classes: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()

    return step


def main() -> None:
    torch.manual_seed(0)
    images, classes = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    dense, by_hand = resnet18(64), resnet18(32)
    controller, pruned = create_compressed_model(resnet18(64), CONFIG, images[:1])
    controller.compression_rate = 0.5
    print(controller.statistics().to_str())
    steps = {
        name: stepper(model, images, classes)
        for name, model in {"dense": dense, "by hand": by_hand, "pruned": pruned}.items()
    }
    seconds = medians(steps, REPEATS)
    show("pruned against built small by hand", seconds["pruned"], seconds["by hand"], 1.05)
    show("pruned against dense", seconds["pruned"], seconds["dense"], 0.35)


if __name__ == "__main__":
    main()
