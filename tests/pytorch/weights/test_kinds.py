"""Every way to hold a weight: sparse, in rows of four, quantized, saved and exported."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from accaware import create_accuracy_aware_training_loop
from accaware.pytorch import (
    PTCompressionController,
    create_compressed_model,
    export_model,
    load_compressed,
)
from accaware.pytorch.export import FORMATS
from accaware.pytorch.quantization.attach import attached_to, weight_name
from accaware.pytorch.state.checkpoint import save_compressed
from tests.pytorch.training.scripts import early_exit
from tests.pytorch.weights.kinds import KINDS, Conv1D, Kind

SEMI_STRUCTURED: dict[str, Any] = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_pattern": "2:4"},
}
QUANTIZATION: dict[str, Any] = {
    "algorithm": "quantization",
    "initializer": {"range": {"num_init_samples": 4}},
}


pytestmark = pytest.mark.usefixtures("operators_read_once")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def compressed(
    kind: Kind, *sections: dict[str, Any], rate: float | None = None
) -> tuple[PTCompressionController, nn.Module]:
    data = [(kind.inputs, torch.zeros(len(kind.inputs)))]
    controller, model = create_compressed_model(
        kind.model(), early_exit(list(sections)), kind.inputs, data
    )
    controller.compression_rate = controller.maximal_compression_rate if rate is None else rate
    return controller, model


def sparse(kind: Kind, rate: float = 0.5, **params: Any) -> tuple[Any, nn.Module]:
    given = {"sparsity_target_epoch": 1, "sparsity_level_setting_mode": "local", **params}
    return compressed(kind, {"algorithm": "magnitude_sparsity", "params": given}, rate=rate)


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False))


def rows(weight: Tensor, dim: int) -> Tensor:
    """(..., 4) along the inputs."""
    last = weight.detach().movedim(dim, -1)
    return last.reshape(*last.shape[:-1], -1, 4)


def outputs(model: nn.Module, kind: Kind) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(kind.inputs)
    return found


def steps(
    model: nn.Module, controller: PTCompressionController, kind: Kind, count: int = 3
) -> Iterator[None]:
    """Of training in mixed precision, with momentum and weight decay.

    Not every processor has an LSTM in bfloat16.
    """
    mixed = not any(isinstance(module, nn.RNNBase) for module in model.modules())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    controller.attach_optimizer(optimizer)
    model.train()
    for _ in range(count):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = model(kind.inputs).float().square().mean() + controller.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def train(model: nn.Module, controller: PTCompressionController, kind: Kind) -> None:
    for _ in steps(model, controller, kind):
        pass


# What is covered, and what is listed ---------------------------------------------------------


@pytest.mark.parametrize("embeddings", [False, True])
def test_what_inputs_are_multiplied_with_is_sparse(kind: Kind, embeddings: bool) -> None:
    controller, model = sparse(kind, sparsify_embeddings=embeddings)
    own = parameters(model)
    covered = {*kind.sparse} | (kind.embeddings if embeddings else set())
    ties = {id(own[name]) for name in covered}
    for name, weight in own.items():
        zeros = int((weight == 0).sum())
        if id(weight) in ties:
            assert zeros == round(0.5 * weight.numel()), name
        elif weight.dim() > 1:
            assert zeros == 0, name
    listed = {entry.layer for entry in controller.excluded}
    left = kind.others | (set() if embeddings else kind.embeddings)
    assert listed == {name.removesuffix(".weight") for name in left}
    assert controller.compression_rate == pytest.approx(0.5, abs=0.01)


def test_the_shares_are_of_all_parameters(kind: Kind) -> None:
    controller, model = sparse(kind, rate=1.0)
    total = sum(each.numel() for each in model.parameters())
    left = sum(parameters(model)[name].numel() for name in kind.others | kind.embeddings)
    assert sum(entry.share for entry in controller.excluded) == pytest.approx(left / total)
    zeros = sum(int((each == 0).sum()) for each in model.parameters())
    assert controller.model_sparsity == zeros / total
    for entry in controller.excluded:
        assert f"({entry.share:.1%} of the parameters)" in entry.told[1]
        embedding = f"{entry.layer}.weight" in kind.embeddings
        assert ("sparsify_embeddings" in entry.reason) is embedding


def test_a_tied_weight_stays_tied_and_counts_once() -> None:
    kind = KINDS["tied"]
    controller, model = sparse(kind, sparsify_embeddings=True)
    train(model, controller, kind)
    own = parameters(model)
    assert own["words.weight"] is own["head.weight"]
    assert len(controller.algorithm.weights) == 3


def test_a_scope_leaves_a_layer_out_with_all_its_weights() -> None:
    kind = KINDS["lstm"]
    section = {
        "algorithm": "magnitude_sparsity",
        "ignored_scopes": ["lstm"],
        "params": {"sparsity_target_epoch": 1},
    }
    controller, model = compressed(kind, section, rate=0.5)
    ((layer, reason),) = [(entry.layer, entry.reason) for entry in controller.excluded]
    assert (layer, reason) == ("lstm", "it is in ignored_scopes")
    assert not any((parameters(model)[name] == 0).any() for name in kind.unquantized)


class WithoutProduct(nn.Module):
    """A linear layer beside parameters that scale, are looked up and make a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(7, 8))
        self.gate = nn.Parameter(torch.randn(2, 8))
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.tensor([1, 3])
        output: Tensor = self.last((x * self.gate + self.table[places]).mean(1))
        return output


def test_what_is_added_or_scales_is_no_weight() -> None:
    kind = Kind(WithoutProduct, KINDS["lstm"].inputs, {})
    controller, _ = sparse(kind)
    reasons = {entry.layer: entry.reason for entry in controller.excluded}
    assert {*reasons} == {"table", "gate"}
    assert "no convolution, linear layer or other product" in reasons["table"]


class Graph(nn.Module):
    """Multiplies by a sparse matrix of neighbours, and for each sample by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8) / 3)
        self.own = nn.Parameter(torch.randn(8, 4) / 3)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        neighbours = torch.eye(len(x)).to_sparse()
        x = torch.sparse.mm(neighbours, x.mean(1) @ self.weight)
        x = torch.func.vmap(lambda each: each @ self.own)(x)
        output: Tensor = self.last(x)
        return output


def test_a_forward_may_have_tensors_without_a_memory_of_their_own() -> None:
    kind = Kind(Graph, KINDS["lstm"].inputs, {})
    controller, _ = sparse(kind)
    assert {*controller.algorithm.weights} == {"weight", "own", "last.weight"}


# Values --------------------------------------------------------------------------------------


def test_zeros_stay_and_dense_values_come_back(kind: Kind) -> None:
    controller, model = sparse(kind, sparsify_embeddings=True)
    dense = {name: weight.clone() for name, weight in parameters(kind.model()).items()}
    gone = {name: weight == 0 for name, weight in controller.algorithm.weights.items()}
    before = {name: weight.detach().clone() for name, weight in parameters(model).items()}
    for _ in steps(model, controller, kind):
        for name, mask in gone.items():
            assert torch.equal(parameters(model)[name] == 0, mask), name
    for name in kind.sparse:
        assert not torch.equal(parameters(model)[name], before[name]), name
    controller.compression_rate = 0.0
    for name, mask in gone.items():
        assert torch.equal(parameters(model)[name][mask], dense[name][mask]), name


def test_a_model_computes_with_its_weights_of_now(kind: Kind) -> None:
    """An LSTM has a list of its weights, and on a GPU a copy of them in one piece."""
    controller, model = sparse(kind)
    train(model, controller, kind)
    fresh = kind.model()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(outputs(fresh, kind), outputs(model, kind))
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            own = {id(each) for each in module.parameters(recurse=False)}
            assert {id(each) for each in module._flat_weights} == own


def in_one_piece(model: nn.Module) -> Tensor:
    """Put an LSTM's parameters end to end into one memory, as cuDNN wants them on a GPU."""
    own = [each for name, each in model.named_parameters() if name.startswith("lstm.")]
    whole = torch.cat([each.detach().flatten() for each in own])
    begin = 0
    for each in own:
        each.data = whole[begin : begin + each.numel()].view_as(each)
        begin += each.numel()
    return whole


def test_weights_in_one_piece_stay_there(tmp_path: Path) -> None:
    kind = KINDS["lstm"]
    model = kind.model()
    whole = in_one_piece(model)
    controller, _ = create_compressed_model(model, early_exit([SEMI_STRUCTURED]), kind.inputs)
    controller.compression_rate = 0.5
    train(model, controller, kind)
    state, expected = copy.deepcopy(controller.state_dict()), outputs(model, kind)
    save_compressed(model, {}, tmp_path / "model.pt")
    assert torch.equal(
        outputs(load_compressed(tmp_path / "model.pt", kind.model()), kind), expected
    )
    controller.compression_rate = 0.0
    train(model, controller, kind)
    controller.load_state_dict(state)
    assert torch.equal(outputs(model, kind), expected)
    own = [each for name, each in model.named_parameters() if name.startswith("lstm.")]
    memory = {each.untyped_storage().data_ptr() for each in own}
    assert memory == {whole.untyped_storage().data_ptr()}
    assert torch.equal(torch.cat([each.detach().flatten() for each in own]), whole)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_state_and_a_file_bring_it_back_to_the_bit(
    kind: Kind, quantized: bool, tmp_path: Path
) -> None:
    sections = [SEMI_STRUCTURED, {**QUANTIZATION, "quantize_embeddings": True}]
    controller, model = compressed(kind, *sections[: 1 + quantized])
    train(model, controller, kind)
    state, expected = copy.deepcopy(controller.state_dict()), outputs(model, kind)
    save_compressed(model, {}, tmp_path / "model.pt")
    loaded = load_compressed(tmp_path / "model.pt", kind.model())
    assert torch.equal(outputs(loaded, kind), expected)
    train(model, controller, kind)
    controller.compression_rate = 0.0
    controller.load_state_dict(state)
    assert torch.equal(outputs(model, kind), expected)


# Rows of four --------------------------------------------------------------------------------


def test_two_of_every_four_inputs_are_zero(kind: Kind) -> None:
    controller, model = compressed(kind, SEMI_STRUCTURED)
    assert controller.maximal_compression_rate == controller.compression_rate == 0.5
    dense = parameters(kind.model())
    train(model, controller, kind)
    for name, dim in kind.sparse.items():
        now, before = rows(parameters(model)[name], dim), rows(dense[name], dim).abs()
        assert ((now == 0).sum(-1) == 2).all(), name
        gone, kept = before[now == 0].view(-1, 2), before[now != 0].view(-1, 2)
        assert (gone.amax(-1) <= kept.amin(-1)).all(), name


def test_rows_that_do_not_fit_leave_a_weight_dense_with_the_reason() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 6, 2), nn.Flatten(), nn.Linear(150, 5),
            nn.Linear(5, 4), nn.Linear(4, 2),
        )  # fmt: skip

    kind = Kind(make, torch.randn(2, 3, 6, 6), {"1.weight": 0, "5.weight": 1})
    controller, model = compressed(kind, SEMI_STRUCTURED)
    reasons = {entry.layer: entry.reason for entry in controller.excluded}
    assert {*reasons} == {"0", "3", "4"}
    assert "3 inputs go into each of its outputs" in reasons["0"]
    for name, dim in kind.sparse.items():
        assert ((rows(parameters(model)[name], dim) == 0).sum(-1) == 2).all()


def test_pruning_may_leave_inputs_that_are_no_rows() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(64, 5),
        )  # fmt: skip

    kind = Kind(make, torch.randn(2, 4, 6, 6), {})
    params = {"prune_first_conv": True, "pruning_target": 0.3, "schedule": "baseline"}
    for multiple, told in ((1, True), (4, False)):
        pruning = {
            "algorithm": "filter_pruning",
            "params": {**params, "channel_multiple": multiple},
        }
        controller, model = compressed(kind, pruning, SEMI_STRUCTURED, rate=0.0)
        controller.scheduler.epoch_step()
        assert len(model[0].weight) < 16
        warned = [each for each in controller.warnings() if "channel_multiple" in each]
        assert bool(warned) is told
        second = model[2].weight.detach()
        if told:
            assert "2.weight" in warned[0]
            assert not (second == 0).any()
        else:
            assert ((rows(second, 1) == 0).sum(-1) == 2).all()


# Quantization --------------------------------------------------------------------------------


def test_the_model_computes_with_quantized_weights(kind: Kind) -> None:
    """Of the activations nothing is quantized here, so that a model of rounded weights is equal."""
    section = {
        **QUANTIZATION,
        "quantize_embeddings": True,
        "activations": {"ignored_scopes": ["{re}.*"]},
        "weights": {"bits": 4},
    }
    controller, model = compressed(kind, section)
    quantizers = attached_to(model)
    assert quantizers is not None
    own = parameters(model)
    names = {weight_name(place, own) for place in quantizers.weights}
    tied = {"words.weight"} & own.keys()
    assert names == ({*kind.sparse} - kind.unquantized) | kind.embeddings | tied
    assert {info.place for info in controller.quantizers()} == names
    listed = kind.unquantized | kind.others
    assert {entry.layer for entry in controller.excluded} == {
        name if name in kind.others else name.rpartition(".")[0] for name in listed
    }
    rounded = kind.model()
    with torch.no_grad():
        for place, quantizer in quantizers.weights.items():
            name = weight_name(place, own)
            if name not in tied:
                parameters(rounded)[name].copy_(quantizer(own[name]))
    # Attention takes another way where there are hooks.
    torch.testing.assert_close(outputs(rounded, kind), outputs(model, kind))
    assert not torch.equal(outputs(kind.model(), kind), outputs(model, kind))


class OwnLinear(nn.Module):
    """A linear layer of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


def test_an_own_layer_that_reads_its_input_has_it_quantized(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(OwnLinear(), nn.Tanh(), Conv1D(4, 8), nn.Flatten(), nn.Linear(8, 5))

    kind = Kind(make, KINDS["Conv1D"].inputs, {})
    _, model = compressed(kind, QUANTIZATION)
    quantizers = attached_to(model)
    assert quantizers is not None
    assert {*quantizers.weights} == {"0", "2", "4"}
    assert {each.name for each in quantizers.activations} == {"0 input", "4 input"}
    assert [each.axis for each in quantizers.weights.values()] == [0, 1, 0]
    export_model(model, kind.inputs, tmp_path / "model.onnx")


# Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_takes_every_kind(form: str, tmp_path: Path) -> None:
    """A file is compared with the model before it gets its name.

    OpenVINO's is made of an ONNX file: of the kinds in that, a few will do.
    """
    kind = KINDS["functional" if form == "openvino" else "everything"]
    _, model = compressed(kind, SEMI_STRUCTURED, {**QUANTIZATION, "quantize_embeddings": True})
    path = tmp_path / f"model{FORMATS[form].suffix}"
    written = export_model(model, kind.inputs, path, format=form)
    assert written.fixed_batch is None
    if form == "state-dict":
        state = torch.load(path, weights_only=True)
        for name, dim in kind.sparse.items():
            held = state[name if name in state else f"{name}_integers"]
            assert ((rows(held, dim) == 0).sum(-1) >= 2).all(), name


def test_rows_are_rows_in_an_onnx_file(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
        )

    kind = Kind(make, torch.randn(2, 4, 6, 6), {})
    _, model = compressed(kind, SEMI_STRUCTURED)
    export_model(model, kind.inputs, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    found = [torch.tensor(numpy_helper.to_array(each)) for each in graph.initializer]
    weights = [each for each in found if each.dim() > 1]
    assert sorted(each.numel() for each in weights) == [8 * 4 * 9, 128 * 5]
    for weight in weights:
        dim = 0 if weight.shape == (128, 5) else 1
        assert ((rows(weight, dim) == 0).sum(-1) == 2).all()


# A search ------------------------------------------------------------------------------------


def test_a_search_with_a_teacher_an_average_and_quantization() -> None:
    kind = KINDS["everything"]
    teaching = {"algorithm": "knowledge_distillation", "type": "softmax"}
    config = early_exit(
        [SEMI_STRUCTURED, QUANTIZATION, teaching],
        weight_averaging="polynomial",
        maximal_total_epochs=2,
        maximal_absolute_accuracy_degradation=1e-9,
    )
    data = [(kind.inputs, torch.zeros(4))]
    controller, model = create_compressed_model(kind.model(), config, kind.inputs, data)
    loop = create_accuracy_aware_training_loop(config, controller, 1.0)

    def epoch(controller: Any, model: nn.Module, optimizer: Any, **_: Any) -> None:
        model.train()
        for _ in range(2):
            loss = model(kind.inputs).square().mean()
            optimizer.zero_grad()
            (loss + controller.loss()).backward()
            optimizer.step()

    loop.run(
        model,
        train_epoch_fn=epoch,
        validate_fn=lambda model: -float(outputs(model, kind).square().mean()),
        configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.01),
    )
    best = loop.result.best
    assert best is not None
    assert best.compression_rate == 0.5
    assert best.model_sparsity is not None
    assert 0.3 < best.model_sparsity < 0.5
    for name, dim in kind.sparse.items():
        assert ((rows(parameters(model)[name], dim) == 0).sum(-1) == 2).all(), name
