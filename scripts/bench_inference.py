"""ResNet-18 at 224x224 in the inference runtimes: dense against pruned, and pruned with int8.

Half of the filters removed, batch 1, two threads. Weights are random, which changes no time.
Promised of pruned and int8: a file of at most 1/12, and at most 0.25 x the latency in the better
one of the runtimes, with every convolution in int8.
"""

from __future__ import annotations

import torch
from measure import show
from torchvision.models import resnet18

from accaware import AccAwareConfig, runtimes
from accaware.pytorch import benchmark, create_compressed_model
from accaware.rundir.benchmark import Benchmark

PRUNING = {
    "algorithm": "filter_pruning",
    "params": {"prune_first_conv": True, "prune_downsample_convs": True},
}
QUANTIZATION = {"algorithm": "quantization"}
THREADS = 2


def measured(images: torch.Tensor, runtime: str, *algorithms: dict[str, object]) -> Benchmark:
    config = AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {
                "mode": "early_exit",
                "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
            },
            "compression": list(algorithms),
        }
    )
    dense = resnet18()
    batch = (images, torch.zeros(len(images), dtype=torch.long))
    controller, small = create_compressed_model(resnet18(), config, images[:1], [batch])
    controller.compression_rate = 0.5
    return benchmark(dense, small, images[:1], runtime=runtime, threads=THREADS, seconds=6)


def main() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 224, 224)
    for runtime in runtimes.installed():
        for title, algorithms in (
            ("pruned", (PRUNING,)),
            ("pruned and int8", (PRUNING, QUANTIZATION)),
        ):
            found = measured(images, runtime.name, *algorithms)
            dense, small = found.latency.dense.median, found.latency.compressed.median
            show(f"{runtime.name}, {title}", small, dense)
            size, memory = found.file_size, found.peak_memory
            print(f"  file: {size.compressed / 1e6:.2f} MB, 1/{size.dense / size.compressed:.1f}")
            if memory is not None:
                print(f"  memory: {memory.compressed / 1e6:.0f} MB of {memory.dense / 1e6:.0f} MB")
            if found.convolutions is not None:
                print(f"  convolutions: {dict(found.convolutions.compressed)}")


if __name__ == "__main__":
    main()
