"""How much of each layer goes where filters of all layers are ranked together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from accaware import AccAwareConfig
from accaware.pytorch import create_compressed_model
from accaware.pytorch.builtin.digits import DigitsResNet
from accaware.pytorch.channels.compact import CompactModel
from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.channels.layout import Layout
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.importance import channel_savings
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from tests.pytorch.channels import odd_models as odd
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


def test_global_is_another_name_of_all_weights() -> None:
    assert pruned(0.6, allocation="global") == pruned(0.6, all_weights=True)
    assert pruned(0.6, allocation="global") != pruned(0.6)


def test_the_resolved_config_has_one_name_of_an_allocation() -> None:
    for given, resolved in (
        ({}, {"all_weights": False}),
        ({"allocation": "uniform"}, {"all_weights": False}),
        ({"allocation": "global"}, {"all_weights": True}),
        ({"all_weights": True}, {"all_weights": True}),
        ({"allocation": "cost_aware"}, {"allocation": "cost_aware"}),
    ):
        section = {"algorithm": "filter_pruning", "params": {**given, "schedule": "baseline"}}
        config = early_exit(section)
        params = config.to_dict()["compression"][0]["params"]
        names = {"all_weights", "allocation"}
        assert {key: params[key] for key in names & params.keys()} == resolved
        assert AccAwareConfig.from_dict(config.to_dict()) == config


def across(cost: Any = None, **settings: Any) -> FilterPruning:
    torch.manual_seed(0)
    model, inputs = DigitsResNet(12), ExampleInputs.of(IMAGE)
    return FilterPruning(
        model,
        Scopes(model, None, ()),
        inputs,
        flops=FlopsModel(model, inputs),
        across_layers=True,
        prune_first_conv=True,
        prune_downsample_convs=True,
        cost=cost,
        **settings,
    )


def test_over_its_cost_the_same_flops_take_less_importance_with_them() -> None:
    plain = across(coupled_importance="sum")
    flops = FlopsModel(plain.compact.model, ExampleInputs.of(IMAGE))
    # Layers are worth the same.
    worth = [scores / len(scores) for scores in plain.importances()]
    lost = {}
    for name, pruning in (
        ("sum", plain),
        ("mean", across()),
        ("cost", across(flops.count)),
    ):
        pruning.set_rate(0.5)
        pairs = zip(worth, pruning.compact.layout.kept, strict=True)
        lost[name] = float(sum(scores[~kept].sum() for scores, kept in pairs))
    assert lost["cost"] < min(lost["sum"], lost["mean"])


def test_the_cost_may_be_any_function_of_the_shapes() -> None:
    """A table of what each filter of a layer takes, say: the dear ones go first."""

    layers = across().ranked_layers

    def kept(dear: str) -> dict[str, int]:
        prices = {f"{layer}.weight": 20 if layer == dear else 1 for layer in layers}

        def cost(shapes: Mapping[str, torch.Size]) -> float:
            return sum(price * shapes[name][0] for name, price in prices.items())

        pruning = across(cost)
        pruning.set_rate(0.3)
        counts = (int(mask.sum()) for mask in pruning.compact.layout.kept)
        return {group.name: count for group, count in zip(pruning.groups, counts, strict=True)}

    assert kept("blocks.1.conv1")["blocks.1.conv1"] < kept("")["blocks.1.conv1"]
    assert kept("blocks.0.conv1")["blocks.0.conv1"] < kept("")["blocks.0.conv1"]


@pytest.mark.parametrize("make", [odd.concat_then_add, odd.flattened, odd.depthwise])
def test_what_a_channel_costs_is_what_the_model_loses_with_it(make: Any) -> None:
    model, inputs = make().float(), ExampleInputs.of(torch.randn(1, 3, 8, 8))
    flops = FlopsModel(model, inputs)
    compact = CompactModel(model, find_dependencies(model, inputs).groups)
    everything = Layout.dense(compact.groups)
    for at, saved in enumerate(channel_savings(compact, flops.count)):
        for channel in range(len(saved)):
            kept = [mask.clone() for mask in everything.kept]
            kept[at][channel] = False
            count = flops.count(compact.shapes_under(Layout(tuple(kept))))
            assert float(saved[channel]) == max(flops.dense - count, 1e-30)
