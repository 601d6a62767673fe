"""A training step under magnitude sparsity against the bare one.

ResNet-18 for 32x32 inputs, batch 16, SGD with momentum, half of the weights at zero.
"""

from __future__ import annotations

import torch
from bench_training_step import REPEATS, resnet18, stepper
from measure import medians, show
from torch import nn

from accaware import AccAwareConfig
from accaware.pytorch import create_compressed_model

CONFIG = AccAwareConfig.from_dict(
    {
        "accuracy_aware_training": {
            "mode": "early_exit",
            "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
        },
        "compression": {"algorithm": "magnitude_sparsity"},
    }
)


def main() -> None:
    torch.manual_seed(0)
    images, classes = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    controller, sparse = create_compressed_model(resnet18(64), CONFIG, images[:1])
    controller.compression_rate = 0.5
    optimizer = torch.optim.SGD(sparse.parameters(), lr=0.01, momentum=0.9)
    controller.attach_optimizer(optimizer)
    sparse.train()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(sparse(images), classes).backward()
        optimizer.step()
        controller.scheduler.step()

    seconds = medians({"bare": stepper(resnet18(64), images, classes), "sparse": step}, REPEATS)
    show("sparse against bare", seconds["sparse"], seconds["bare"], 1.05)


if __name__ == "__main__":
    main()
