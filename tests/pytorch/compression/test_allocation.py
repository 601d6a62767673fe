"""How much of each layer goes where filters of all layers are ranked together."""

from __future__ import annotations

from typing import Any

import torch

from accaware.pytorch import create_compressed_model
from accaware.pytorch.builtin.digits import DigitsResNet
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from tests.pytorch.training.scripts import early_exit

IMAGE = torch.zeros(1, 1, 8, 8)


def pruned(rate: float, **params: Any) -> dict[str, int]:
    """The filters that each group of an untrained residual network is left with, by its name."""
    torch.manual_seed(0)
    section = {
        "algorithm": "filter_pruning",
        "params": {
            "schedule": "baseline",
            "prune_first_conv": True,
            "prune_downsample_convs": True,
            **params,
        },
    }
    controller, _ = create_compressed_model(DigitsResNet(20), early_exit(section), IMAGE)
    pruning = controller.algorithm
    assert isinstance(pruning, FilterPruning)
    controller.compression_rate = rate
    kept = (int(mask.sum()) for mask in pruning.compact.layout.kept)
    return {group.name: count for group, count in zip(pruning.groups, kept, strict=True)}


STREAMS = {"stem.0": 20, "blocks.1.conv2": 40, "blocks.2.conv2": 80}
INNER = {"blocks.0.conv1": 20, "blocks.1.conv1": 40, "blocks.2.conv1": 80}


def test_by_the_mean_a_residual_stream_gives_way_as_well_as_inner_convolutions() -> None:
    widths = pruned(0.5, all_weights=True)
    for name, dense in {**STREAMS, **INNER}.items():
        assert 0.25 * dense <= widths[name] <= 0.75 * dense, name


def test_nncfs_rule_is_the_sum_and_no_bound() -> None:
    rule = {"all_weights": True, "coupled_importance": "sum", "max_layer_pruning": 1.0}
    widths = pruned(0.32, **rule)
    assert {name: widths[name] for name in STREAMS} == STREAMS
    assert sum(widths[name] for name in INNER) == 5  # of 140
    bounded = pruned(0.32, **{**rule, "max_layer_pruning": 0.75})
    assert all(bounded[name] >= dense / 4 for name, dense in INNER.items())
    assert any(bounded[name] < dense for name, dense in STREAMS.items())


def test_the_bound_on_a_layer_bounds_the_maximal_rate() -> None:
    widths = pruned(1.0, all_weights=True, max_layer_pruning=0.8)
    assert widths == {name: dense // 5 for name, dense in {**STREAMS, **INNER}.items()}
