"""Quantization of a trained network: what it computes, with pruning and sparsity beside it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware import AdaptiveCompressionTrainingLoop, EarlyExitCompressionTrainingLoop
from accaware.errors import CheckpointError, UsageError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.quantization.attach import attached_to
from tests.pytorch.quantization.scripts import QUANTIZATION, batches, quantize, quantized
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, SPARSITY, adaptive, early_exit
from tests.runners.torch_case import TinyNet, accuracy, digits, train, trained_model

IMAGES = digits()[0][1200:1300]


def outputs(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    model.eval()
    with torch.no_grad():
        result: Tensor = model(images)
    return result


def fake_quantized(
    tensor: Tensor, scale: Tensor | float, zero_point: int, low: int, high: int
) -> Tensor:
    """The definition, in plain arithmetic."""
    integers = torch.clamp(torch.round(tensor / scale) + zero_point, low, high)
    return (integers - zero_point) * scale


def test_it_computes_what_the_definition_says() -> None:
    controller, model = quantized(overflow_fix="disable")
    quantize(controller)
    assert controller.quantization is not None
    activations = {each.name: each for each in controller.quantization.quantizers.activations}

    def by_hand(layer: Any, taken: Tensor) -> Tensor:
        each = activations[f"{names[layer]} input"]
        weight = layer.weight.detach()
        scale = weight.flatten(1).abs().amax(1) / 127
        weight = fake_quantized(weight, scale.view(-1, *[1] * (weight.dim() - 1)), 0, -127, 127)
        assert each.scale is not None
        taken = fake_quantized(taken, each.scale, each.zero_point, each.low, each.high)
        if isinstance(layer, nn.Linear):
            return nn.functional.linear(taken, weight, layer.bias)
        return nn.functional.conv2d(taken, weight, layer.bias, layer.stride, layer.padding)

    names = {module: name for name, module in model.named_modules()}
    plain = copy.deepcopy(model).eval()
    features = list(model.features)
    model.eval()
    with torch.no_grad():
        found = IMAGES
        for part in features:
            found = by_hand(part, found) if isinstance(part, nn.Conv2d) else part(found)
        expected = by_hand(model.classifier, found.amax(dim=(2, 3)))
    torch.testing.assert_close(outputs(plain), expected, rtol=1e-4, atol=1e-4)


def test_eight_bits_cost_little_and_two_cost_much() -> None:
    controller, model = quantized()
    dense = accuracy(model)
    quantize(controller)
    assert abs(accuracy(model) - dense) < 0.02
    coarse, other = quantized(weights={"bits": 2}, activations={"bits": 2})
    quantize(coarse)
    assert accuracy(other) < dense - 0.05


def test_nothing_is_quantized_before_a_rate_is_set_nor_at_rate_zero() -> None:
    controller, model = quantized()
    untouched = outputs(trained_model())
    assert torch.equal(outputs(model), untouched)
    assert controller.compression_rate == 0
    quantize(controller)
    assert not torch.equal(outputs(model), untouched)
    controller.compression_rate = 0.0
    assert torch.equal(outputs(model), untouched)
    assert controller.quantizers() == []


def test_the_models_tensors_keep_their_names_and_values() -> None:
    controller, model = quantized()
    quantize(controller)
    before = trained_model().state_dict()
    assert model.state_dict().keys() == before.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert isinstance(model.features[0].weight, nn.Parameter)


def test_the_rate_of_quantization_alone_is_the_share_of_bits_saved() -> None:
    controller, model = quantized(weights={"bits": 4})
    quantize(controller)
    weights = 16 * 9 + 24 * 16 * 9 + 240
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert controller.compression_rate == pytest.approx(weights * 28 / (parameters * 32))
    assert controller.compression_rate == controller.maximal_compression_rate


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_pruned_and_quantized_is_quantized_of_the_smaller_network(rate: float) -> None:
    controller, model = quantized(PRUNING)
    controller.compression_rate = rate
    alone = trained_model()
    pruning, _ = create_compressed_model(alone, adaptive(PRUNING), EXAMPLE)
    pruning.compression_rate = rate
    assert [tensor.shape for tensor in model.parameters()] == [
        tensor.shape for tensor in alone.parameters()
    ]
    assert controller.compression_rate == pruning.compression_rate
    again, _ = create_compressed_model(alone, early_exit([QUANTIZATION]), EXAMPLE, batches())
    quantize(again)
    torch.testing.assert_close(outputs(model), outputs(alone))


def test_zeros_stay_zeros() -> None:
    controller, model = quantized(SPARSITY)
    controller.compression_rate = 0.7
    quantizers = attached_to(model)
    assert quantizers is not None
    zeros = total = 0
    for name, quantizer in quantizers.weights.items():
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        assert (quantizer(weight)[weight == 0] == 0).all()
        zeros, total = zeros + int((weight == 0).sum()), total + weight.numel()
    assert zeros / total == pytest.approx(0.7, abs=1e-3)
    assert controller.compression_rate == pytest.approx(0.7, abs=1e-3)


def test_ranges_are_measured_again_at_each_new_rate() -> None:
    controller, _ = quantized(PRUNING)
    controller.compression_rate = 0.3
    first = [each.range for each in controller.quantizers() if "weight" not in each.place]
    controller.compression_rate = 0.6
    assert [each.range for each in controller.quantizers() if "weight" not in each.place] != first
    controller.compression_rate = 0.3
    assert [each.range for each in controller.quantizers() if "weight" not in each.place] == first


def test_measuring_changes_nothing_else_of_the_model() -> None:
    controller, model = quantized()
    model.train()
    model.features[1].eval()
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    quantize(controller)
    assert [module.training for module in model.modules()] == modes
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


@pytest.mark.parametrize("beside", [(), (PRUNING,), (SPARSITY,)])
def test_training_goes_on_and_every_weight_gets_its_gradient(beside: tuple[Any, ...]) -> None:
    controller, model = quantized(*beside)
    controller.compression_rate = 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    controller.attach_optimizer(optimizer)
    losses = [train(controller, model, epoch=epoch, optimizer=optimizer) for epoch in range(3)]
    assert losses[-1] < losses[0] * 1.1
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("beside", [(), (PRUNING,), (SPARSITY,)])
@pytest.mark.parametrize("bits", [8, 3])
def test_a_saved_model_comes_back_and_computes_the_same(
    beside: tuple[Any, ...], bits: int, tmp_path: Path
) -> None:
    controller, model = quantized(*beside, weights={"bits": bits}, preset="mixed")
    controller.compression_rate = 0.5
    file = tmp_path / "model.pt"
    save_compressed(model, controller.algorithm.kept_masks(), file)
    again = load_compressed(file, TinyNet())
    torch.testing.assert_close(outputs(again), outputs(model), rtol=1e-4, atol=1e-4)
    content = torch.load(file, weights_only=True)
    assert content["state_dict"]["features.3.weight"].dtype == torch.int8
    assert controller.sizes().file_size.compressed == file.stat().st_size


def test_the_integers_make_the_file_about_a_quarter(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512))

        def forward(self, values: Tensor) -> Tensor:
            result: Tensor = self.layers(values)
            return result

    model, sample = Wide(), torch.randn(8, 512)
    save_compressed(model, {}, tmp_path / "dense.pt")
    controller, _ = create_compressed_model(
        model, early_exit([QUANTIZATION]), sample[:1], [(sample, None)]
    )
    quantize(controller)
    save_compressed(model, {}, tmp_path / "small.pt")
    sizes = [(tmp_path / name).stat().st_size for name in ("dense.pt", "small.pt")]
    assert sizes[1] < 0.26 * sizes[0]


def test_a_file_of_another_models_quantizers_says_so(tmp_path: Path) -> None:
    controller, model = quantized()
    quantize(controller)
    save_compressed(model, {}, tmp_path / "model.pt")
    other = TinyNet()
    other.classifier = nn.Linear(24, 11)
    with pytest.raises(CheckpointError, match=r"classifier.weight: \[10, 24\]"):
        load_compressed(tmp_path / "model.pt", other)


def test_a_weight_that_another_layer_reads_unquantized_stays_as_it_is(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, values: Tensor) -> Tensor:
            result: Tensor = self.second(torch.relu(self.first(values)))
            return result

    torch.manual_seed(0)
    model, sample = Tied(), torch.randn(8, 6)
    config = early_exit([{**QUANTIZATION, "ignored_scopes": ["second"]}])
    controller, _ = create_compressed_model(model, config, sample[:1], [(sample, None)])
    quantize(controller)
    save_compressed(model, {}, tmp_path / "model.pt")
    again = load_compressed(tmp_path / "model.pt", Tied())
    torch.testing.assert_close(outputs(again, sample), outputs(model, sample))


def test_copies_of_the_model_have_quantizers_of_their_own() -> None:
    controller, model = quantized()
    quantize(controller)
    copied = copy.deepcopy(model)
    quantized_outputs = outputs(model)
    assert torch.equal(outputs(copied), quantized_outputs)
    controller.compression_rate = 0.0
    assert torch.equal(outputs(copied), quantized_outputs)


def test_a_checkpoint_brings_ranges_and_the_switch_back() -> None:
    controller, model = quantized(PRUNING)
    untouched = copy.deepcopy(controller.state_dict())
    controller.compression_rate = 0.5
    kept, expected = copy.deepcopy(controller.state_dict()), outputs(model)
    controller.compression_rate = 0.2
    controller.load_state_dict(kept)
    assert torch.equal(outputs(model), expected)
    controller.load_state_dict(untouched)
    assert torch.equal(outputs(model), outputs(trained_model()))


def test_the_search_finds_the_highest_rate_with_both_in_place() -> None:
    model = trained_model()
    baseline = accuracy(model)
    config = adaptive([PRUNING, QUANTIZATION], maximal_absolute_accuracy_degradation=0.1)
    controller, _ = create_compressed_model(model, config, EXAMPLE, batches())
    loop = AdaptiveCompressionTrainingLoop(config, controller, uncompressed_model_accuracy=baseline)
    loop.run(
        model,
        train_epoch_fn=train,
        validate_fn=accuracy,
        configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.005),
    )
    assert loop.result.within_budget
    assert loop.result.best is not None
    assert accuracy(model) == loop.result.best.metric
    assert controller.quantization is not None
    assert controller.quantization.active
    assert controller.compression_rate == loop.result.best.compression_rate > 0


def test_quantization_alone_ends_as_soon_as_it_is_within_budget() -> None:
    model = trained_model()
    config = early_exit([QUANTIZATION], maximal_absolute_accuracy_degradation=0.05)
    controller, _ = create_compressed_model(model, config, EXAMPLE, batches())
    loop = EarlyExitCompressionTrainingLoop(
        config, controller, uncompressed_model_accuracy=accuracy(model)
    )
    loop.run(
        model,
        train_epoch_fn=train,
        validate_fn=accuracy,
        configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.005),
    )
    assert loop.result.within_budget
    assert loop.result.epochs == 0
    assert controller.quantization is not None
    assert controller.quantization.active


def test_the_table_says_what_is_quantized_and_how() -> None:
    controller, _ = quantized(preset="mixed", activations={"bits": 6})
    quantize(controller)
    rows = {row.place: row for row in controller.quantizers()}
    weight, activation = rows["features.3.weight"], rows["features.3 input"]
    assert (weight.bits, weight.mode, weight.granularity) == (8, "symmetric", "channel")
    assert (activation.bits, activation.mode, activation.granularity) == (6, "asymmetric", "tensor")
    assert weight.range is not None
    assert weight.range[0] == -weight.range[1]
    text = controller.statistics().to_str()
    assert "quantization of 3 weights and 3 activations to 6 or 8 bits" in text
    assert "features.3 input: 6 bits, asymmetric, a range a tensor, " in text


def test_no_training_data_is_an_error_that_says_what_it_is_for() -> None:
    with pytest.raises(UsageError, match="pass train_loader"):
        create_compressed_model(trained_model(), early_exit([QUANTIZATION]), EXAMPLE)
    model = trained_model()
    config = early_exit([{**QUANTIZATION, "initializer": {"range": {"num_init_samples": 0}}}])
    controller, _ = create_compressed_model(model, config, EXAMPLE, batches())
    with pytest.raises(UsageError, match="num_init_samples is 0"):
        quantize(controller)
