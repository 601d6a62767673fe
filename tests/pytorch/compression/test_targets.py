"""FLOPs, scopes and the settings that say which layers may be pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from accaware.errors import CompressionError, UsageError
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from accaware.search.params import AdaptiveParams
from accaware.search.strategies.strategy import Bounds
from tests.pytorch.channels import odd_models as odd
from tests.pytorch.channels.zoo import SIZES, make_model, prune


def image(name: str) -> torch.Tensor:
    return torch.randn(1, 3, SIZES[name], SIZES[name])


def counted(model: nn.Module, inputs: torch.Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(inputs)
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("name", "across_layers"),
    [("resnet18", False), ("mobilenet_v3_small", True), ("squeezenet1_1", False)],
)
def test_a_flops_target_is_reached_and_hardly_passed(name: str, across_layers: bool) -> None:
    model = make_model(name, torch.float32)
    inputs = image(name)
    dense = counted(model, inputs)
    pruning = prune(model, inputs, by_flops=True, across_layers=across_layers)
    for target in (0.2, 0.5, 0.8):
        pruning.set_rate(target, [])
        now = counted(model, inputs)
        assert pruning.compression_rate == pytest.approx((dense - now) / dense, abs=1e-12)
        assert target <= pruning.compression_rate < target + 0.02
    pruning.set_rate(1.0, [])
    assert pruning.compression_rate == pytest.approx(pruning.maximal_compression_rate)


def test_the_next_smaller_level_would_miss_the_flops_target() -> None:
    model = odd.plain(nn.BatchNorm2d(12), nn.ReLU()).float()
    pruning = prune(model, torch.randn(1, 3, 8, 8), by_flops=True, across_layers=True)
    reachable = []
    for permille in range(0, 1001, 5):
        shapes = pruning.compact.shapes_under(pruning._ranking().layout(permille / 1000))
        reachable.append(pruning._rate(shapes))
    for target in (0.1, 0.33, 0.5, 0.71):
        pruning.set_rate(target, [])
        assert pruning.compression_rate == min(rate for rate in reachable if rate >= target)


@pytest.mark.parametrize("make", [odd.depthwise, odd.transposed, odd.flattened])
def test_flops_are_those_of_the_compact_model(make: object) -> None:
    model = make().float()  # type: ignore[operator]
    inputs = torch.randn(1, 3, 8, 8)
    flops = FlopsModel(model, ExampleInputs.of(inputs))
    assert flops.dense == counted(model, inputs)
    pruning = prune(model, inputs)
    pruning.set_rate(0.5, [])
    assert flops.count(pruning.compact.live_shapes()) == counted(model, inputs)


def test_attention_counts_too() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    inputs = torch.randn(1, 10, 16)
    length, width, hidden = 10, 16, 32
    weights = 3 * width**2 + width**2 + 2 * width * hidden
    products = 2 * length**2 * width
    expected = 2 * (length * weights + products)
    assert FlopsModel(layer, ExampleInputs.of(inputs)).dense == expected


def small_resnet(
    *,
    target_scopes: Sequence[str] | None = None,
    ignored_scopes: Sequence[str] = (),
    validate_scopes: bool = True,
    **settings: Any,
) -> tuple[FilterPruning, dict[str, str]]:
    torch.manual_seed(0)
    model = resnet18(num_classes=4)
    scopes = Scopes(model, target_scopes, ignored_scopes, validate=validate_scopes)
    inputs = ExampleInputs.of(torch.randn(1, 3, 32, 32))
    pruning = FilterPruning(model, scopes, inputs, **settings)
    return pruning, {entry.layer: entry.reason for entry in pruning.excluded}


def layers_of(pruning: FilterPruning) -> set[str]:
    return {layer for group in pruning.groups for layer in group.producers}


ALL = {"prune_first_conv": True, "prune_downsample_convs": True}


def test_first_and_downsampling_convolutions_stay_unless_asked_for() -> None:
    pruning, reasons = small_resnet()
    assert "prune_first_conv is false" in reasons["conv1"]
    assert reasons["layer2.0.conv1"].endswith("(prune_downsample_convs is false)")
    assert "coupled with conv1" in reasons["layer1.0.conv2"]
    assert "coupled with layer2.0.downsample.0" in reasons["layer2.0.conv2"]
    assert layers_of(pruning) == {
        "layer1.0.conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1",
    }  # fmt: skip
    everything, reasons = small_resnet(**ALL)
    assert set(reasons) == {"fc"}
    assert {"conv1", "layer2.0.downsample.0"} <= layers_of(everything)


@pytest.mark.parametrize(
    "pattern",
    [
        "layer1",
        "layer1.*",
        "{re}layer1\\..*",
        "ResNet/Sequential[layer1]",
        "{re}ResNet/.*\\[layer1\\]",
    ],
)
def test_ignored_scopes(pattern: str) -> None:
    pruning, reasons = small_resnet(ignored_scopes=(pattern,), **ALL)
    assert reasons["layer1.0.conv1"] == "it is in ignored_scopes"
    assert "coupled with layer1.0.conv2: it is in ignored_scopes" in reasons["conv1"]
    assert not any(layer.startswith("layer1") for layer in layers_of(pruning))
    assert "layer2.0.conv1" in layers_of(pruning)


def test_a_scope_may_mean_nothing_where_validate_scopes_is_false() -> None:
    pruning, _ = small_resnet(
        ignored_scopes=("ResNet/Identity[gone]",), validate_scopes=False, **ALL
    )
    assert "conv1" in layers_of(pruning)


@pytest.mark.parametrize("pattern", ["layer?.1.conv1", "{re}layer\\d\\.1\\.conv1"])
def test_target_scopes(pattern: str) -> None:
    pruning, reasons = small_resnet(target_scopes=(pattern,), **ALL)
    assert layers_of(pruning) == {f"layer{number}.1.conv1" for number in (1, 2, 3, 4)}
    assert "it is not in target_scopes" in reasons["layer1.0.conv1"]


@pytest.mark.parametrize(
    ("scopes", "message"),
    [
        ({"ignored_scopes": ("layer1.0.cnv1",)}, "did you mean 'layer1.0.conv1'"),
        ({"target_scopes": ("{re}layer9.*",)}, "target_scopes: .* matches no module"),
        ({"ignored_scopes": ("{re}(",)}, "not a regular expression"),
    ],
)
def test_scopes_that_mean_nothing(scopes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small_resnet(**scopes)


def test_nothing_left_to_prune() -> None:
    with pytest.raises(CompressionError, match="it is in ignored_scopes"):
        small_resnet(ignored_scopes=("*",))


def test_channel_multiple() -> None:
    pruning, _ = small_resnet(multiple=8, **ALL)
    pruning.set_rate(0.53, [])
    for group, kept in zip(pruning.groups, pruning.compact.layout.kept, strict=True):
        assert int(kept.sum()) % 8 == 0, group.name
    assert 0.53 <= pruning.compression_rate < 0.6


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("multiple", [1, 8])
def test_a_rate_is_met_by_the_first_layout_at_or_above_it(across: bool, multiple: int) -> None:
    """So every layout is reached by asking for what it achieves, the last one too."""
    pruning, _ = small_resnet(multiple=multiple, across_layers=across, **ALL)
    most = pruning.maximal_compression_rate
    achieved = []
    # The search's own bound is a whole millionth, a hair below what can be reached.
    params = AdaptiveParams(
        initial_training_phase_epochs=0, patience_epochs=1, maximal_compression_rate=1.0
    )
    bound = Bounds.of(params, most).maximal
    for target in (0.1, 0.3, 0.45, 0.6, 0.72, 0.9 * most, bound, most, 1.0):
        pruning.set_rate(target, [])
        rate = pruning.compression_rate
        assert rate >= min(target, most)
        achieved.append(rate)
        # What lies between is nobody's: a little less than what was achieved gives it again.
        pruning.set_rate(max(min(target, most), rate - 1e-6), [])
        assert pruning.compression_rate == rate
        pruning.set_rate(rate, [])
        assert pruning.compression_rate == rate
    assert achieved == sorted(achieved)
    assert achieved[-3:] == [most, most, most]
