"""Layers and outputs of unusual kinds: compressed, or listed with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from accaware.pytorch import create_compressed_model
from accaware.pytorch.quantization.attach import attached_to
from tests.pytorch.training.scripts import PRUNING, SPARSITY, adaptive, early_exit

QUANTIZATION: dict[str, Any] = {
    "algorithm": "quantization",
    "initializer": {"range": {"num_init_samples": 8}},
}
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BATCHES = [(IMAGES, torch.zeros(4))]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.last = nn.Linear(8, 5)

    def features(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        return self.last(self.features(x))


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
def test_a_convolution_takes_its_numbers_as_a_list(name: str) -> None:
    model = Net()
    setattr(model.second, name, list(getattr(model.second, name)))
    params = {**PRUNING["params"], "prune_first_conv": True}
    controller, _ = create_compressed_model(
        model, adaptive({**PRUNING, "params": params}), IMAGES[:1]
    )
    controller.compression_rate = 0.5
    assert len(model.second.weight) < 8
    assert model(IMAGES).shape == (4, 5)


def test_a_large_convolution_in_groups_whose_weight_is_computed() -> None:
    """Its magnitudes are in double precision while it is tried, and its directions aren't yet."""
    layer = parametrizations.weight_norm(nn.Conv1d(64, 64, 17, groups=4), dim=2)
    model = nn.Sequential(nn.Conv1d(4, 64, 3), nn.ReLU(), layer, nn.Conv1d(64, 8, 1), nn.ReLU())
    model.append(nn.Conv1d(8, 2, 1))
    sound = torch.randn(1, 4, 32)
    controller, _ = create_compressed_model(model, adaptive(PRUNING), sound)
    controller.compression_rate = 0.5
    assert len(model[3].weight) == 4
    assert model(sound).isfinite().all()


def test_strides_in_a_list_are_strides() -> None:
    model = Net()
    model.second.stride = [2, 2]  # type: ignore[assignment]
    params = {**PRUNING["params"], "prune_first_conv": True, "prune_downsample_convs": False}
    controller, _ = create_compressed_model(
        model, adaptive({**PRUNING, "params": params}), IMAGES[:1]
    )
    reasons = {entry.layer: entry.reason for entry in controller.excluded}
    assert "stride" in reasons["second"]


class Reader(nn.Module):
    """Most kinds of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.recurrent = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.cell, self.last = nn.LSTMCell(8, 8), nn.Linear(8, 5)
        self.mix = nn.Parameter(torch.ones(8, 8))
        self.token, self.scale = nn.Parameter(torch.ones(1, 1, 8)), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.recurrent(self.words(x))[0] + self.token
        x = self.attention(x, x, x)[0][:, -1] @ self.mix * self.scale
        output: Tensor = self.last(self.cell(x)[0])
        return output


IN_EACH = {
    **SPARSITY,
    "params": {**SPARSITY["params"], "sparsity_level_setting_mode": "local"},
}


@pytest.mark.parametrize(
    ("section", "missing"),
    [
        (IN_EACH, {"words"}),
        (
            {**IN_EACH, "ignored_scopes": ["recurrent", "attention", "cell"]},
            {"words", "recurrent", "attention", "attention.out_proj", "cell"},
        ),
        (QUANTIZATION, {"words", "recurrent", "attention.out_proj", "cell"}),
    ],
)
def test_every_weight_is_covered_or_listed(section: dict[str, Any], missing: set[str]) -> None:
    model, words = Reader(), torch.ones(2, 3, dtype=torch.long)
    config = early_exit(section)
    controller, _ = create_compressed_model(model, config, words, [(words, torch.zeros(2))])
    controller.compression_rate = 0.5
    listed = {entry.layer for entry in controller.excluded}
    assert missing == listed
    quantizers = attached_to(model)
    covered = (
        {*quantizers.weights}
        if quantizers is not None
        else {name for name, parameter in model.named_parameters() if (parameter == 0).any()}
    )
    for name, parameter in model.named_parameters():
        if sum(size > 1 for size in parameter.shape) > 1:
            assert {name, name.rpartition(".")[0]} & (listed | covered), name
    assert "last" not in listed
    assert not {"token", "scale"} & listed


def test_a_tied_weight_is_covered_once() -> None:
    model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 9))
    model[1].weight = model[0].weight
    controller, _ = create_compressed_model(
        model, adaptive(SPARSITY), torch.ones(1, 3, dtype=torch.long)
    )
    assert not controller.excluded


def test_a_scripted_layer_is_excluded_by_name() -> None:
    model = Net()
    with pytest.warns(Warning, match="torch.jit"):
        model.second = torch.jit.script(model.second)
    for section in (SPARSITY, QUANTIZATION):
        controller, _ = create_compressed_model(model, early_exit(section), IMAGES[:1], BATCHES)
        controller.compression_rate = 0.5
        reasons = {entry.layer: entry.reason for entry in controller.excluded}
        assert "torch.jit" in reasons["second"]
        assert "last" not in reasons


class TwoOutputs(Net):
    def __init__(self, form: type, aside: bool = False) -> None:
        super().__init__()
        self.form, self.aside, self.other = form, aside, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        features = self.features(x)
        other = self.other(features)
        outputs = self.last(features), other + 1 if self.aside else other, other.argmax(1)
        return {"a": outputs[0], "b": outputs[1:]} if self.form is dict else self.form(outputs)


def levels(tensor: Tensor) -> int:
    return len(tensor.unique())


@pytest.mark.parametrize("form", [tuple, list, dict])
def test_each_tensor_of_the_outputs_has_a_range_of_its_own(form: type) -> None:
    model = TwoOutputs(form)
    section = {**QUANTIZATION, "quantize_outputs": True, "activations": {"bits": 2}}
    controller, _ = create_compressed_model(model, early_exit(section), IMAGES[:1], BATCHES)
    controller.compression_rate = controller.maximal_compression_rate
    outputs = torch.utils._pytree.tree_leaves(model.eval()(IMAGES))
    assert [levels(each) <= 4 for each in outputs[:2]] == [True, True]
    places = {info.place for info in controller.quantizers()}
    assert {"last output", "other output"} <= places


def test_an_output_that_no_module_gives_is_listed() -> None:
    section = {**QUANTIZATION, "quantize_outputs": True}
    controller, _ = create_compressed_model(
        TwoOutputs(tuple, aside=True), early_exit(section), IMAGES[:1], BATCHES
    )
    listed = [entry.layer for entry in controller.excluded]
    assert "the model's output, tensor 2" in listed
    assert "the model's output, tensor 1" not in listed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("section", [PRUNING, SPARSITY, QUANTIZATION])
def test_models_of_any_precision_are_compressed(
    dtype: torch.dtype, section: dict[str, Any]
) -> None:
    model, images = Net().to(dtype), IMAGES.to(dtype)
    controller, _ = create_compressed_model(
        model, early_exit(section), images[:1], [(images, torch.zeros(4))]
    )
    controller.compression_rate = 0.3
    outputs = model(images)
    assert outputs.dtype == dtype
    assert outputs.isfinite().all()
    outputs.sum().backward()


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.complex, self.real = nn.Linear(4, 4, dtype=torch.complex64), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.real(self.complex(x.to(torch.complex64)).real)
        return output


def test_complex_weights_are_made_sparse() -> None:
    model = Waves()
    controller, _ = create_compressed_model(model, early_exit(SPARSITY), torch.ones(2, 4))
    controller.compression_rate = 0.5
    assert (model.complex.weight == 0).sum() + (model.real.weight == 0).sum() == 12
    assert not (model.complex.weight == 0).all()


def test_complex_weights_are_not_quantized() -> None:
    x = torch.ones(2, 4)
    controller, _ = create_compressed_model(
        Waves(), early_exit(QUANTIZATION), x, [(x, torch.zeros(2))]
    )
    reasons = {entry.layer: entry.reason for entry in controller.excluded}
    assert "complex64" in reasons["complex"]
