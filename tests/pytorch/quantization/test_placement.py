"""Where quantizers stand in networks of all kinds, and how a section's settings reach them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.config.model.quantization import (
    ActivationOverride,
    ActivationsQuantization,
    OverrideInitializer,
    QuantizationConfig,
    QuantizationInitializer,
    RangeInitializer,
    RangeParams,
    ScopeOverrides,
    WeightOverride,
    WeightsQuantization,
)
from accaware.errors import CompressionError, UsageError
from accaware.pytorch.create.quantization import quantization_settings_of
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.plan import QuantizationPlan, plan_quantization


def plan(model: nn.Module, inputs: Any = None, **config: Any) -> QuantizationPlan:
    given = torch.randn(1, 4, 8, 8) if inputs is None else inputs
    settings = quantization_settings_of(model, QuantizationConfig(**config))
    return plan_quantization(model, settings, ExampleInputs.of(given))


def places(found: QuantizationPlan) -> list[str]:
    return [activation.name for activation in found.quantizers.activations]


def conv(inputs: int = 4, outputs: int = 4) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Block(nn.Module):
    """A residual block whose activation is used twice, as torchvision's is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = conv(), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(images)))))
        inner += images
        out: Tensor = self.relu(inner)
        return out


def test_layers_in_a_row_have_a_place_each_and_weights_each() -> None:
    found = plan(nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()))
    assert list(found.quantizers.weights) == ["0", "3"]
    assert places(found) == ["0 input", "3 input"]
    assert found.excluded == ()


def test_both_operands_of_a_residual_addition_are_quantized_where_modules_give_them() -> None:
    found = plan(nn.Sequential(conv(), Block(), Block(), conv()))
    assert places(found) == [
        "0 input",
        "0 output",
        "1.conv2 input",
        "1.bn2 output",
        "1 output",
        "2.conv2 input",
        "2.bn2 output",
        "3 input",
    ]
    assert found.excluded == ()


def test_an_operand_that_no_module_gives_leaves_the_addition_in_floating_point() -> None:
    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = conv(), conv()

        def forward(self, images: Tensor) -> Tensor:
            kept = torch.relu(self.conv1(images))
            added: Tensor = kept + self.conv2(kept)
            return added

    found = plan(Free())
    assert places(found) == ["conv1 input", "conv2 input"]
    ((where, why),) = [(entry.layer, entry.reason) for entry in found.excluded]
    assert where == "the model"
    assert "an operand that no module gives" in why


def test_one_place_serves_all_branches_that_read_it() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = nn.ReLU(), conv(), conv()

        def forward(self, images: Tensor) -> Tensor:
            stem = self.stem(images)
            return torch.cat([self.left(stem), self.right(stem), stem], dim=1)

    assert places(plan(Branches())) == ["stem output"]


def test_an_addition_of_attention_isnt_a_convolutions() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, tokens: Tensor) -> Tensor:
            mixed: Tensor = tokens + self.linear(self.norm(tokens))
            return mixed

    found = plan(nn.Sequential(Mixer(), Mixer()), torch.randn(1, 3, 8))
    assert places(found) == ["0.linear input", "1.linear input"]


def test_a_layer_that_is_called_twice_has_one_range() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = conv()

        def forward(self, images: Tensor) -> Tensor:
            twice: Tensor = self.head(torch.relu(self.head(images)))
            return twice

    assert places(plan(Shared())) == ["head input"]


def test_inputs_and_outputs_are_quantized_as_asked() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), conv())
    assert places(plan(model, quantize_inputs=False)) == ["2 input"]
    assert places(plan(model, quantize_outputs=True)) == ["0 input", "2 input", "output"]


def test_a_layer_that_no_forward_goes_through_says_so() -> None:
    class Uses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = conv(), conv()

        def forward(self, images: Tensor) -> Tensor:
            used: Tensor = self.used(images)
            return used

    found = plan(Uses())
    assert [entry.layer for entry in found.excluded] == ["spare"]
    assert "no forward goes through it" in found.excluded[0].reason


def test_scopes_leave_layers_out() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv())
    whole = plan(model, ignored_scopes=("2",))
    assert list(whole.quantizers.weights) == ["0", "4"]
    assert places(whole) == ["0 input", "4 input"]
    weights = plan(model, weights=WeightsQuantization(target_scopes=("4",)))
    assert list(weights.quantizers.weights) == ["4"]
    activations = plan(model, activations=ActivationsQuantization(ignored_scopes=("2",)))
    assert list(activations.quantizers.weights) == ["0", "2", "4"]
    assert places(activations) == ["0 input", "4 input"]
    with pytest.raises(UsageError, match="'nothing' matches no module"):
        plan(model, ignored_scopes=("nothing",))


def test_overrides_hold_within_their_scope() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), conv())
    found = plan(
        model,
        preset="mixed",
        scope_overrides=ScopeOverrides(
            weights={"2": WeightOverride(bits=4, mode="asymmetric", per_channel=False)},
            activations={"0": ActivationOverride(bits=6, mode="symmetric")},
        ),
    )
    first, last = found.quantizers.weights["0"], found.quantizers.weights["2"]
    assert (first.bits, first.symmetric, first.axis) == (8, True, 0)
    assert (last.bits, last.symmetric, last.axis) == (4, False, None)
    of_first, of_last = found.quantizers.activations
    assert (of_first.bits, of_first.symmetric) == (6, True)
    assert (of_last.bits, of_last.symmetric) == (8, False)


def test_the_first_override_that_fits_is_laid_over_what_counts_everywhere() -> None:
    found = plan(
        nn.Sequential(conv(), nn.ReLU(), conv()),
        weights=WeightsQuantization(bits=6, mode="asymmetric", per_channel=False),
        activations=ActivationsQuantization(bits=5, signed=True),
        quantize_outputs=True,
        scope_overrides=ScopeOverrides(
            weights={"2": WeightOverride(bits=4), "{re}.*": WeightOverride(bits=3)},
            activations={"2": ActivationOverride(signed=False), "?": ActivationOverride(bits=3)},
        ),
    )
    weights = found.quantizers.weights
    assert [weights[name].bits for name in ("0", "2")] == [3, 4]
    assert [(each.symmetric, each.axis) for each in weights.values()] == [(False, None)] * 2
    # No scope means the model itself, at whose output the last one is.
    of = [(each.bits, each.signed) for each in found.quantizers.activations]
    assert of == [(3, True), (5, False), (5, True)]


def test_the_first_range_that_fits_an_activation_counts() -> None:
    ranges = (
        RangeInitializer(type="min_max", target_quantizer_group="weights"),
        RangeInitializer(type="threesigma", target_scopes=("2",)),
        RangeInitializer(
            type="percentile",
            num_init_samples=7,
            params=RangeParams(min_percentile=1, max_percentile=98),
            ignored_scopes=("4",),
        ),
    )
    found = plan(
        nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv()),
        quantize_outputs=True,
        initializer=QuantizationInitializer(range=ranges),
    )
    assert places(found) == ["0 input", "2 input", "4 input", "output"]
    assert [(each.type, each.samples) for each in found.ranges] == [
        ("percentile", 7),
        ("threesigma", 256),
        ("mixed_min_max", 256),
        ("threesigma", 256),
    ]
    assert (found.ranges[0].min_percentile, found.ranges[0].max_percentile) == (1, 98)


def test_an_overrides_ranges_stand_in_place_of_all_others() -> None:
    def with_range(*ranges: RangeInitializer) -> QuantizationPlan:
        override = ActivationOverride(initializer=OverrideInitializer(range=ranges))
        return plan(
            nn.Sequential(conv(), nn.ReLU(), conv()),
            initializer=QuantizationInitializer(range=(RangeInitializer(type="threesigma"),)),
            scope_overrides=ScopeOverrides(activations={"2": override}),
        )

    def types(found: QuantizationPlan) -> list[str]:
        return [each.type for each in found.ranges]

    assert types(with_range(RangeInitializer(type="min_max"))) == ["threesigma", "min_max"]
    elsewhere = RangeInitializer(type="min_max", target_scopes=("0",))
    assert types(with_range(elsewhere)) == ["threesigma", "mixed_min_max"]
    with pytest.raises(UsageError, match="'nothing' matches no module"):
        with_range(RangeInitializer(target_scopes=("nothing",)))


@pytest.mark.parametrize(
    "scopes",
    [
        {"weights": WeightsQuantization(target_scopes=("nothing",))},
        {"activations": ActivationsQuantization(ignored_scopes=("nothing",))},
        {"scope_overrides": ScopeOverrides(weights={"nothing": WeightOverride(bits=4)})},
        {"scope_overrides": ScopeOverrides(activations={"nothing": ActivationOverride(bits=4)})},
        {
            "initializer": QuantizationInitializer(
                range=(
                    RangeInitializer(target_quantizer_group="weights", target_scopes=("nothing",)),
                )
            )
        },
    ],
)
def test_a_scope_that_means_no_module_is_refused_wherever_it_stands(scopes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="_scopes: 'nothing' matches no module of the model"):
        plan(nn.Sequential(conv(), nn.ReLU(), conv()), **scopes)


@pytest.mark.parametrize(
    ("fix", "highest"),
    [("enable", [63, 63]), ("first_layer_only", [63, 127]), ("disable", [127, 127])],
)
def test_the_overflow_fix_halves_the_ranges_of_weights(fix: str, highest: list[int]) -> None:
    found = plan(nn.Sequential(conv(), nn.ReLU(), conv()), overflow_fix=fix)
    assert [quantizer.high for quantizer in found.quantizers.weights.values()] == highest


def test_a_transposed_convolutions_channels_are_in_its_second_dimension() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2))
    found = plan(model)
    assert found.quantizers.weights["0"].axis == 1


def test_a_model_with_nothing_to_quantize_is_refused_in_one_sentence() -> None:
    with pytest.raises(CompressionError, match="no layer of Sequential can be quantized"):
        plan(nn.Sequential(nn.ReLU()))
