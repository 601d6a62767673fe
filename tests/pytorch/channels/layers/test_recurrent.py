"""Recurrent layers lose hidden units where nothing mixes them, and follow what they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from accaware.pytorch import (
    create_compressed_model,
    export_model,
    load_compressed,
    save_compressed,
)
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.runtimes import runtime
from tests.pytorch.channels.test_odd_models import check, pruned, reasons
from tests.pytorch.channels.zoo import prune
from tests.pytorch.training.scripts import SPARSITY, early_exit
from tests.runners.torch_case import PRUNING

FEATURES, HIDDEN, STEPS = 6, 8, 4


def sound(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, STEPS, dtype=torch.float64)


class Recurrent(nn.Module):
    """A convolution over time, a recurrent layer, and a linear one at each step.

    Args:
        kind: of the recurrent layer.
        settings: its keyword arguments.
    """

    def __init__(self, kind: type[nn.RNNBase], **settings: Any) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, FEATURES, 3, padding=1)
        self.rnn = kind(FEATURES, HIDDEN, batch_first=True, **settings)
        outputs = settings.get("proj_size", HIDDEN) * (1 + settings.get("bidirectional", False))
        self.last = nn.Linear(outputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.conv(x).relu().transpose(1, 2)
        result: Tensor = self.last(self.rnn(steps)[0].sigmoid())
        return result


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (nn.LSTM, {}),
        (nn.GRU, {}),
        (nn.RNN, {}),
        (nn.RNN, {"nonlinearity": "relu", "bias": False}),
        (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
        (nn.GRU, {"num_layers": 2, "bidirectional": True, "dropout": 0.0, "bias": False}),
    ],
    ids=str,
)
def test_hidden_units_of_all_layers_go_together(
    kind: type[nn.RNNBase], settings: dict[str, Any]
) -> None:
    model = Recurrent(kind, **settings)
    pruning = check(model, sound(), unread=True)
    assert [group.size for group in pruning.groups] == [FEATURES, HIDDEN]
    assert set(reasons(pruning)) == {"last"}
    pruning.set_rate(1.0, [])
    assert (model.rnn.input_size, model.rnn.hidden_size) == (1, 1)
    assert model.rnn.weight_hh_l0.shape[1] == model.last.in_features / (1 + model.rnn.bidirectional)
    pruning.set_rate(0.0, [])
    assert (model.rnn.input_size, model.rnn.hidden_size) == (FEATURES, HIDDEN)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_of_projected_units_the_projections_go() -> None:
    model = Recurrent(nn.LSTM, proj_size=4, num_layers=2)
    pruning = check(model, sound(), unread=True)
    assert {layer for layer in pruned(pruning) if "rnn" in layer} == {
        "rnn.weight_hr_l0", "rnn.weight_hr_l1"
    }  # fmt: skip
    assert "proj_size" in reasons(pruning)["rnn"]
    pruning.set_rate(1.0, [])
    assert (model.rnn.hidden_size, model.rnn.proj_size) == (HIDDEN, 1)


class LastStates(nn.Module):
    """What is left of a sentence in both directions, words of several lengths packed."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, FEATURES)
        self.rnn = nn.LSTM(FEATURES, HIDDEN, bidirectional=True)
        self.last = nn.Linear(4 * HIDDEN, 2)

    def forward(self, words: Tensor) -> Tensor:
        lengths = torch.arange(len(words)) % 3 + 2
        packed = pack_padded_sequence(self.words(words), lengths, True, enforce_sorted=False)
        steps, (states, cells) = self.rnn(packed)
        steps = pad_packed_sequence(steps, True)[0]
        parts = [states[0], states[1], cells.tanh().mean(0), cells[1]]
        return self.last(torch.cat(parts, 1)) + steps.mean((1, 2))[:, None] * 0


def test_last_states_of_packed_words() -> None:
    pruning = check(LastStates(), torch.randint(20, (4, 6)))
    assert {group.name for group in pruning.groups} == {"words", "rnn.weight_ih_l0"}


class Decoder(nn.Module):
    """A cell that begins where an encoder ended, with a learned cell state."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(3, HIDDEN)
        self.cell = nn.LSTMCell(3, HIDDEN)
        self.start = nn.Parameter(torch.randn(1, HIDDEN))
        self.last = nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.permute(2, 0, 1)
        state = self.encoder(steps, steps.new_zeros(1, len(x), self.encoder.hidden_size))[1][0]
        memory = self.start.expand(len(x), -1)
        made = []
        for step in steps:
            state, memory = self.cell(step, (state, memory))
            made.append(self.last(state))
        return torch.stack(made, 1)


def test_a_state_that_is_handed_over() -> None:
    model = Decoder()
    pruning = check(model, sound())
    (group,) = pruning.groups
    assert {slot.tensor for slot in group.slots} >= {"start", "cell.weight_hh", "last.weight"}
    pruning.set_rate(0.5, [])
    assert model.encoder.hidden_size == model.cell.hidden_size == model.start.shape[1] < HIDDEN


def test_what_mixes_units_or_knows_their_number_is_a_reason() -> None:
    class Normalised(Recurrent):
        def forward(self, x: Tensor) -> Tensor:
            steps, states = self.rnn(x.transpose(1, 2))
            return nn.functional.layer_norm(steps, (HIDDEN,)) + 0 * self.last(states[-1]).mean()

    class Fixed(Recurrent):
        def forward(self, x: Tensor) -> Tensor:
            start = x.new_zeros(1, len(x), HIDDEN)
            return self.last(self.rnn(self.conv(x).transpose(1, 2), start)[0])

    model = nn.Sequential(nn.Conv1d(3, 3, 1), Normalised(nn.GRU))
    model[1].rnn = nn.GRU(3, HIDDEN, batch_first=True)
    model[1].conv = nn.Identity()
    assert "normalises" in reasons(prune(model.double(), sound()))["1.rnn"]
    assert "Expected hidden size" in reasons(prune(Fixed(nn.GRU).double(), sound()))["rnn"]


def test_operations_are_counted_as_they_are_done() -> None:
    model = Recurrent(nn.LSTM, num_layers=2).float()
    inputs = ExampleInputs((sound(1).float(),), {})
    dense = FlopsModel(model, inputs)
    pruning = prune(model, sound(1).float())
    pruning.set_rate(0.5, [])
    shapes = {name: each.shape for name, each in model.named_parameters()}
    assert dense.count(shapes) == FlopsModel(model, inputs).dense
    rows = 4 * HIDDEN * (FEATURES + 3 * HIDDEN)
    assert dense.by_layer["rnn"] == 2 * STEPS * rows


def test_zeros_beside_it_a_file_and_onnx(tmp_path: Path) -> None:
    def make() -> Recurrent:
        return Recurrent(nn.LSTM)

    # The exporter writes every step out.
    model, x = make(), sound(2)[..., :2].float()
    controller, _ = create_compressed_model(model, early_exit([PRUNING, SPARSITY]), x)
    controller.compression_rate = 0.7
    assert model.rnn.hidden_size < HIDDEN
    assert (model.rnn.weight_hh_l0 == 0).any()
    save_compressed(model, controller.algorithm.kept_masks(), tmp_path / "model.pt")
    loaded = load_compressed(tmp_path / "model.pt", make()).eval()
    assert loaded.rnn.hidden_size == model.rnn.hidden_size
    with torch.no_grad():
        wanted = model.eval()(x)
        assert torch.equal(loaded(x), wanted)
    export_model(model, x, tmp_path / "model.onnx")
    (found,) = runtime("onnxruntime").load(tmp_path / "model.onnx", 1).run({0: x.numpy()})
    assert torch.allclose(torch.as_tensor(found), wanted, atol=1e-5)
