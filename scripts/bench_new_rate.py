"""Going to a new rate on ResNet-50, and the importance of one large layer.

The rate: rank, lay out, slice, with Adam's state following. Promised: under 0.5 s. The geometric
median of 2048 filters of 3x3x512 weights: under 1 s and 200 MB beyond the weights.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import time

import torch
import torchvision
from bench_training_step import CONFIG

from accaware.pytorch import create_compressed_model
from accaware.pytorch.compression.pruning.importance import geometric_median, l2


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def importance() -> None:
    filters = torch.randn(2048, 512 * 9)
    # First of all, while the process has used no more memory than the weights.
    before, began = peak_megabytes(), time.perf_counter()
    geometric_median(filters)
    seconds, grown = time.perf_counter() - began, peak_megabytes() - before
    baseline = []
    for _ in range(5):
        began = time.perf_counter()
        l2(filters)
        baseline.append(time.perf_counter() - began)
    print(
        f"geometric median of 2048 filters of 4608 weights: {seconds:.2f} s (under 1), "
        f"{seconds / statistics.median(baseline):.0f} x L2, {grown:.0f} MB (under 200)"
    )


def new_rate() -> None:
    model = torchvision.models.resnet50(weights=None)
    images, classes = torch.randn(2, 3, 64, 64), torch.randint(1000, (2,))
    controller, _ = create_compressed_model(model, CONFIG, images[:1])
    optimizer = torch.optim.Adam(model.parameters())
    controller.attach_optimizer(optimizer)
    steps, rates = [], []
    for rate in itertools.islice(itertools.cycle((0.3, 0.6, 0.5, 0.9)), 12):
        began = time.perf_counter()
        controller.compression_rate = rate
        rates.append(time.perf_counter() - began)
        began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()
        steps.append(time.perf_counter() - began)
    seconds, step = statistics.median(rates), statistics.median(steps)
    print(
        f"a new rate on ResNet-50 with Adam: {seconds:.3f} s (under 0.5), "
        f"{seconds / step:.1f} x a training step of batch 2 at 64x64"
    )


if __name__ == "__main__":
    importance()
    new_rate()
