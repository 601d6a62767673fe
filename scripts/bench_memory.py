"""Peak memory above the model: when it is set up for compression, and when it goes to a new rate.

A network of 180 MiB, in multiples of that. Each case has a process of its own, whose peak the
kernel tells (Linux). What has to be there all along counts as well: the dense values of what is
removed, and the masks. Promised: at most 2 for filter pruning and 2.5 for magnitude sparsity.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from accaware import AccAwareConfig
from accaware.pytorch import create_compressed_model

LIMITS = {"filter_pruning": 2.0, "magnitude_sparsity": 2.5}


class Large(nn.Module):
    """(N, 3, 8, 8) images -> (N, 10) logits; five of its layers have width² · 9 weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (3, *[width] * 6)
        self.features = nn.Sequential(
            *(
                layer
                for before, after in itertools.pairwise(widths)
                for layer in (nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
            )
        )
        self.classifier = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).amax(dim=(2, 3)))
        return logits


def config_of(algorithm: str) -> AccAwareConfig:
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {
                "mode": "early_exit",
                "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
            },
            "compression": {"algorithm": algorithm},
        }
    )


def resident(field: str) -> int:
    """Bytes of this process's memory: VmRSS is now, VmHWM the most since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(field)


def peak_of(action: Callable[[], object], above: int) -> int:
    Path("/proc/self/clear_refs").write_text("5")
    action()
    return resident("VmHWM") - above


def measure(algorithm: str) -> None:
    config, images = config_of(algorithm), torch.zeros(1, 3, 8, 8)
    # What torch loads when it is first used is none of the model's.
    warm, _ = create_compressed_model(Large(8), config, images)
    warm.compression_rate = 0.5
    model = Large(1024)
    model(images)
    size = sum(parameter.nbytes for parameter in model.parameters())
    above = resident("VmRSS")
    made = []

    def set_up() -> None:
        made.append(create_compressed_model(model, config, images)[0])

    def rates() -> None:
        for rate in (0.5, 0.3, 0.7):
            made[0].compression_rate = rate

    for title, action in (("set-up", set_up), ("a new rate", rates)):
        peak = peak_of(action, above)
        print(
            f"{algorithm}, {title}: {peak / 2**20:.0f} MiB above a model of {size / 2**20:.0f} "
            f"MiB, {peak / size:.2f} x (at most {LIMITS[algorithm]:g})",
            flush=True,
        )


def main() -> None:
    for algorithm in sys.argv[1:]:
        measure(algorithm)
    if not sys.argv[1:]:
        for algorithm in LIMITS:
            subprocess.run([sys.executable, __file__, algorithm], check=True)


if __name__ == "__main__":
    main()
