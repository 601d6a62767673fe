"""A run of three epochs, of a few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from accaware import AccAwareConfig
from accaware.config import EarlyExitParams, FilterPruningConfig, FilterPruningParams


@pytest.fixture(autouse=True)
def one_thread(
    no_inference_runtimes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config() -> AccAwareConfig:
    return AccAwareConfig(
        accuracy_aware_training=EarlyExitParams(
            maximal_absolute_accuracy_degradation=100.0, maximal_total_epochs=3
        ),
        compression=(
            FilterPruningConfig(
                params=FilterPruningParams(
                    schedule="exponential",
                    pruning_target=0.4,
                    pruning_steps=2,
                    prune_first_conv=True,
                )
            ),
        ),
        batch_size=16,
        device="cpu",
    )
