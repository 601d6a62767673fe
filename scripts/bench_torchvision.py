"""Mixed precision, torch.compile and channels_last against the plain step of the same plugin.

ResNet-18 and MobileNetV2 with a stem for 32x32 inputs, made-up images, SGD; the device is the
best that is there. One epoch of two batches, after one that isn't counted. The first one with
torch.compile is shown by itself, as every new rate compiles anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from measure import medians, show

from accaware import AccAwareConfig
from accaware.pytorch.builtin.classification import ImageClassification
from accaware.pytorch.data.batches import to_device
from accaware.pytorch.training.plugin_ranking import IdleCompression

BATCHES, REPEATS = 2, 5
BATCH = {"cpu": 16, "cuda": 256}
WAYS: dict[str, dict[str, bool]] = {
    "plain": {},
    "mixed_precision": {"mixed_precision": True},
    "channels_last": {"channels_last": True},
    "mixed_precision, channels_last": {"mixed_precision": True, "channels_last": True},
    "compile": {"compile": True},
}


def config(model: str, **keys: bool) -> AccAwareConfig:
    return AccAwareConfig.from_dict(
        {
            "model": model,
            "dataset": "fake",
            "input_info": {"sample_size": [1, 3, 32, 32]},
            **keys,
            "accuracy_aware_training": {
                "mode": "early_exit",
                "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
            },
            "compression": {"algorithm": "filter_pruning"},
        }
    )


def epoch_of(model: str, device: torch.device, **keys: bool) -> Callable[[], Any]:
    torch.manual_seed(0)
    task = ImageClassification(config(model, **keys))
    network = task.create_model().to(device)
    train, _ = task.create_datasets()
    loader = torch.utils.data.DataLoader(train, BATCH[device.type], shuffle=False)
    some = [to_device(batch, device) for batch, _ in zip(loader, range(BATCHES), strict=False)]
    batches = [some[index % len(some)] for index in range(BATCHES)]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    return lambda: task.train_epoch(network, batches, optimizer, IdleCompression(device))


def main() -> None:
    """Compiling last: it may take minutes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{device}: {BATCHES} batches of {BATCH[device.type]}")
    for model in ("resnet18", "mobilenet_v2"):
        epochs = {name: epoch_of(model, device, **keys) for name, keys in WAYS.items()}
        compiled = {name: epochs.pop(name) for name in ("plain", "compile")}
        epochs["plain"] = compiled["plain"]
        tell(model, medians(epochs, REPEATS, warmup=1))
        began = time.perf_counter()
        compiled["compile"]()
        print(f"{model}, compile: its first epoch takes {time.perf_counter() - began:.0f} s")
        tell(model, medians(compiled, REPEATS, warmup=1))


def tell(model: str, seconds: dict[str, float]) -> None:
    for name, value in seconds.items():
        if name != "plain":
            show(f"{model}, {name} against plain", value, seconds["plain"])


if __name__ == "__main__":
    main()
