"""Whatever the model: what is pruned computes what masking computes, all else has a reason."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from accaware.errors import CompressionError
from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.inputs import ExampleInputs
from tests.pytorch.channels import odd_models as odd
from tests.pytorch.channels.masked import Masked, assert_same_training, dense_state
from tests.pytorch.channels.zoo import prune


def image(batch: int = 4, *size: int) -> Tensor:
    return torch.randn(batch, 3, *(size or (8, 8)), dtype=torch.float64)


def check(
    model: nn.Module, inputs: Tensor, tolerance: float = 1e-10, *, unread: bool = False
) -> FilterPruning:
    """Prune to several rates, the highest included, against the masked reference."""
    if tolerance < 1e-6:
        model = model.double()
    dense = copy.deepcopy(model)
    state = copy.deepcopy(model.state_dict())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    pruning = prune(model, inputs[:1])
    for rate in (0.4, 1.0, 0.2):
        pruning.set_rate(rate, [])
        state_now = dense_state(model, pruning.dense_tensors())
        masked = Masked(dense, state_now, pruning.kept_masks(), unread=unread)
        assert_same_training(model, masked, (inputs,), tolerance)
    pruning.set_rate(0.0, [])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, state[name]), name
        assert parameter.requires_grad == (name in trained), name
    return pruning


def pruned(pruning: FilterPruning) -> set[str]:
    return {layer for group in pruning.groups for layer in group.producers}


def reasons(pruning: FilterPruning) -> dict[str, str]:
    return {entry.layer: entry.reason for entry in pruning.excluded}


@pytest.mark.parametrize(
    "between",
    [
        nn.BatchNorm2d(12),
        nn.BatchNorm2d(12, affine=False),
        nn.InstanceNorm2d(12, affine=True),
        nn.Sequential(nn.PReLU(12), nn.Dropout2d(0.0)),
        nn.PReLU(),
        nn.Hardswish(),
        nn.GELU(),
        nn.AvgPool2d(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_work_channel_by_channel(between: nn.Module) -> None:
    pruning = check(odd.plain(copy.deepcopy(between)), image())
    assert pruned(pruning) == {"0", "2"}
    assert set(reasons(pruning)) == {"5.2"}


def test_statistics_of_a_norm_without_scale_do_not_decide() -> None:
    norm = nn.BatchNorm2d(12, affine=False)
    nn.init.normal_(norm.running_mean)
    assert pruned(check(odd.plain(norm), image())) == {"0", "2"}


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (nn.Softmax(1), "1 (Softmax) mixes channels"),
        (nn.LocalResponseNorm(3, alpha=1.0), "mixed with them"),
        (nn.GroupNorm(1, 12), "GroupNorm"),
        (nn.LayerNorm([12, 8, 8]), "LayerNorm"),
        (nn.ChannelShuffle(3), "channels"),
        (nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(2)), "forward fails"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_that_do_not_are_excluded_with_their_reason(between: nn.Module, reason: str) -> None:
    pruning = check(odd.plain(copy.deepcopy(between)), image())
    assert pruned(pruning) == {"2"}
    assert reason in reasons(pruning)["0"]


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (odd.reused_layer, {"first", "again"}),
        (odd.concat_then_add, {"left", "right", "whole"}),
        (odd.reads_values, {"first", "second"}),
        (odd.scaled_by_hand, {"first", "second"}),
        (odd.frozen, {"0", "3"}),
        (odd.flattened, {"0", "2", "6"}),
        (odd.transposed, {"0", "3"}),
        (odd.channel_shuffle, {"first", "second"}),
        (odd.chunked, {"first"}),
        (odd.twice_in_a_concat, {"first", "second"}),
        (odd.squeezed_and_excited, {"first", "squeeze", "excite", "second"}),
        (odd.tokens_with_positions, {"patches", "hidden"}),
        (odd.windows, {"first", "mix"}),
        (odd.weight_made_by_hand, {"first", "second", "third"}),
    ],
)
def test_models_that_are_pruned(make: object, layers: set[str]) -> None:
    assert pruned(check(make(), image())) == layers  # type: ignore[operator]


def test_dimensions_other_than_two() -> None:
    assert pruned(check(odd.one_dimensional(), image(4, 16))) == {"0", "3"}
    assert pruned(check(odd.three_dimensional(), image(4, 5, 5, 5))) == {"0", "3"}


def test_embeddings() -> None:
    assert pruned(check(odd.embedding(), torch.randint(20, (4, 7)))) == {"0", "1"}


def test_an_embedding_that_is_an_output_layer_too() -> None:
    pruning = check(odd.tied_to_its_embedding(), torch.randint(20, (4, 7)))
    assert pruned(pruning) == {"1"}
    assert reasons(pruning)["4"] == "several layers share 0.weight"


def test_dropout_in_a_container_hides_nothing() -> None:
    model = odd.functional_dropout()
    pruning = prune(model, image().float()[:1])
    assert pruned(pruning) == {"first", "second"}


def test_a_model_that_runs_in_single_precision_only() -> None:
    pruning = check(odd.single_precision_only(), image().float(), tolerance=1e-5)
    assert pruned(pruning) == {"first", "second"}


@pytest.mark.parametrize(
    ("make", "layer", "reason"),
    [
        (odd.returns_features, "first", "model's output"),
        (odd.gated_by_one_channel, "gate", "spreads it over other channels"),
        (odd.counts_on_fours, "first", "channels don't make fours"),
    ],
)
def test_models_that_are_pruned_in_part(make: object, layer: str, reason: str) -> None:
    pruning = check(make(), image())  # type: ignore[operator]
    assert pruned(pruning)
    assert reason in reasons(pruning)[layer]


def test_a_scale_of_zero_hides_nothing() -> None:
    model = odd.zero_scaled_branch_with_sigmoid()
    pruning = check(model, image(), unread=True)
    assert pruned(pruning) == {"first", "second", "skip"}


@pytest.mark.parametrize("make", [odd.hard_coded_reshape, odd.shared_weight, odd.split_unevenly])
def test_models_of_which_nothing_can_be_pruned_are_refused(make: object) -> None:
    model = make()  # type: ignore[operator]
    with pytest.raises(CompressionError, match=r"no filter of .* can be pruned") as caught:
        prune(model, image().float()[:1])
    assert "\n" not in str(caught.value)


def test_depthwise_down_to_one_channel_and_back() -> None:
    model = odd.depthwise()
    pruning = check(model, image())
    pruning.set_rate(1.0, [])
    assert (model[0].out_channels, model[3].groups, model[6].in_channels) == (1, 1, 1)
    pruning.set_rate(0.0, [])
    assert (model[0].out_channels, model[3].groups, model[6].in_channels) == (4, 4, 4)


def test_every_branch_of_a_concatenation_keeps_a_filter() -> None:
    model = odd.concat_then_add()
    pruning = prune(model, image().float()[:1], across_layers=True)
    pruning.set_rate(1.0, [])
    assert (model.left.out_channels, model.right.out_channels) == (1, 1)
    assert model.whole.out_channels == 2


def test_a_model_that_does_not_run_says_so() -> None:
    model = nn.Sequential(odd.conv(3, 8), nn.Flatten(), nn.Linear(7, 3))
    with pytest.raises(CompressionError, match="Sequential"):
        find_dependencies(model, ExampleInputs.of(image().float()))


def test_a_grouped_convolution_loses_whole_groups() -> None:
    model = odd.plain(nn.Conv2d(12, 24, 1, groups=3), nn.ReLU(), nn.Conv2d(24, 12, 1))
    pruning = check(model, image())
    assert {len(group.producers) for group in pruning.groups if "1" in group.producers} == {2}
    pruning.set_rate(1.0, [])
    grouped = model[1]
    assert (model[0].out_channels, model[3].in_channels) == (4, 8)
    assert (grouped.in_channels, grouped.out_channels, grouped.groups) == (4, 8, 1)
    pruning.set_rate(0.0, [])
    assert (grouped.in_channels, grouped.out_channels, grouped.groups) == (12, 24, 3)


def test_a_grouped_convolution_of_the_inputs_stays() -> None:
    first = odd.conv(3, 6, groups=3)
    model = nn.Sequential(first, nn.ReLU(), odd.conv(6, 8), nn.ReLU(), odd.head(8))
    pruning = check(model, image())
    assert pruned(pruning) == {"2"}
    assert "reads something that has to stay" in reasons(pruning)["0"]


def test_shuffled_channels_go_with_all_that_they_meet() -> None:
    model = torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=5)
    pruning = check(model, image(2, 64, 64))
    assert {"stage2.1.branch2.0", "stage2.1.branch2.5"} <= pruned(pruning)
    # Eight blocks of halving and shuffling leave no two of these 96 channels apart.
    assert reasons(pruning)["stage3.7.branch2.5"] == "its channels are tied to one another"


def test_swin_is_followed_in_bounded_time() -> None:
    model = torchvision.models.swin_t(weights=None)
    found = find_dependencies(model, ExampleInputs.of(torch.randn(1, 3, 64, 64)))
    layers = {layer for group in found.groups for layer in group.producers}
    assert {name for name in layers if ".mlp." in name} == {
        name
        for name, module in model.named_modules()
        if name.endswith(".mlp.0") and isinstance(module, nn.Linear)
    }
    assert any("LayerNorm" in entry.reason for entry in found.excluded)


def test_vit_loses_hidden_units_of_its_mlps() -> None:
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
        num_classes=5,
    )  # fmt: skip
    pruning = check(model, image(2, 32, 32))
    assert pruned(pruning) == {
        f"encoder.layers.encoder_layer_{number}.mlp.0" for number in range(2)
    }


def test_maxvit_is_pruned_where_that_is_right() -> None:
    model = torchvision.models.MaxVit(
        input_size=(32, 32), stem_channels=8, partition_size=2, block_channels=[8, 16],
        block_layers=[1, 1], head_dim=4, stochastic_depth_prob=0.0, num_classes=5,
    )  # fmt: skip
    layers = pruned(check(model, image(2, 32, 32)))
    assert any("mlp" in name for name in layers)


class LaidOut(nn.Module):
    """Reads (N, positions, channels) as (N, channels, height, width), in order or not."""

    def __init__(self, *, across: bool) -> None:
        super().__init__()
        self.channels, self.across = 16, across
        self.first, self.second, self.head = odd.conv(3, 16), odd.conv(16, 8), odd.head(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).relu()
        rows = y.flatten(2).transpose(1, 2)
        rows = rows if self.across else rows.transpose(1, 2)
        y = rows.reshape(len(x), self.channels, *x.shape[2:])
        output: Tensor = self.head(self.second(y).relu())
        return output


@pytest.mark.parametrize("across", [False, True])
def test_what_goes_together_does_so_at_every_size(across: bool) -> None:
    torch.manual_seed(0)
    model = LaidOut(across=across).double()
    dense, state = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    pruning = prune(model, image(1, 2, 2))
    assert pruned(pruning) == ({"second"} if across else {"first", "second"})
    if across:
        assert "at another size of the inputs" in reasons(pruning)["first"]
    pruning.set_rate(0.5, [])
    masked = Masked(dense, {**state, **dense_state(model, pruning.dense_tensors())},
                    pruning.kept_masks())  # fmt: skip
    for size in (2, 4, 5):
        assert_same_training(model, masked, (image(2, size, size),), 1e-10)
