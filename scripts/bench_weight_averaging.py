"""A training step whose weights are averaged against one whose weights are not.

ResNet-18 for 32x32 inputs, half the filters of every group removed, SGD with momentum, in batches
of 16 and 64. What is averaged is the same for both, so the smaller batch pays the larger share.
The average alone is timed too: its share of a step is less than steps differ by on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench_training_step import CONFIG, resnet18, stepper
from measure import medians, show
from torch import nn

from accaware.pytorch import create_compressed_model
from accaware.pytorch.training.weight_average import WeightAverage

REPEATS = 15
BATCHES = (16, 64)


def pruned() -> nn.Module:
    controller, model = create_compressed_model(resnet18(64), CONFIG, torch.randn(1, 3, 32, 32))
    controller.compression_rate = 0.5
    return model


def averaging_stepper(
    model: nn.Module, images: torch.Tensor, classes: torch.Tensor
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    WeightAverage(model).follow(optimizer)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()

    return step


def averaging_alone(model: nn.Module) -> Callable[[], object]:
    """What follows a step of an optimizer that has nothing to do, as there are no gradients."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    WeightAverage(model).follow(optimizer)
    return optimizer.step


def main() -> None:
    torch.manual_seed(0)
    bare, averaged, alone = pruned(), pruned(), averaging_alone(pruned())
    for batch in BATCHES:
        images, classes = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
        steps = {
            "bare": stepper(bare, images, classes),
            "averaged": averaging_stepper(averaged, images, classes),
            "alone": alone,
        }
        seconds = medians(steps, REPEATS)
        title = f"batch {batch}: "
        show(title + "averaged against bare", seconds["averaged"], seconds["bare"], 1.02)
        show(title + "the average alone", seconds["alone"], seconds["bare"], 0.02)


if __name__ == "__main__":
    main()
