"""A training step with 8-bit weights and activations against the float step of the same network.

ResNet-18 for 32x32 inputs, batch 16, SGD with momentum; dense, and half of the filters removed.
"""

from __future__ import annotations

import torch
from bench_training_step import REPEATS, resnet18, stepper
from measure import medians, show

from accaware import AccAwareConfig
from accaware.pytorch import create_compressed_model


def config(*algorithms: dict[str, object]) -> AccAwareConfig:
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {
                "mode": "early_exit",
                "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
            },
            "compression": list(algorithms),
        }
    )


def main() -> None:
    torch.manual_seed(0)
    images, classes = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    pruning = {
        "algorithm": "filter_pruning",
        "params": {"prune_first_conv": True, "prune_downsample_convs": True},
    }
    quantization = {"algorithm": "quantization"}
    loader = [(images, classes)]
    controller, quantized = create_compressed_model(
        resnet18(64), config(quantization), images[:1], loader
    )
    controller.compression_rate = controller.maximal_compression_rate
    half, pruned = create_compressed_model(resnet18(64), config(pruning), images[:1])
    both, small = create_compressed_model(
        resnet18(64), config(pruning, quantization), images[:1], loader
    )
    half.compression_rate = both.compression_rate = 0.5
    models = {"dense": resnet18(64), "int8": quantized, "pruned": pruned, "pruned int8": small}
    steps = {name: stepper(model, images, classes) for name, model in models.items()}
    seconds = medians(steps, REPEATS)
    show("int8 against float, dense", seconds["int8"], seconds["dense"], 1.7)
    show("int8 against float, half of the filters", seconds["pruned int8"], seconds["pruned"], 1.7)


if __name__ == "__main__":
    main()
