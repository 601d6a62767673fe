"""Compressed models in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from accaware.errors import CheckpointError
from accaware.pytorch.state.checkpoint import (
    file_size,
    load_compressed,
    read_checkpoint,
    save_compressed,
)
from tests.pytorch.channels import odd_models as odd
from tests.pytorch.channels.zoo import make_inputs, make_model, prune


def compressed(model: nn.Module, inputs: torch.Tensor, path: Path) -> nn.Module:
    pruning = prune(model, inputs[:1])
    pruning.set_rate(0.6, [])
    save_compressed(model, pruning.kept_masks(), path)
    return model.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.pt"
    compressed(odd.plain(nn.BatchNorm2d(12), nn.ReLU()), torch.randn(1, 3, 8, 8), path)
    return path


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "googlenet", "mnasnet0_5", "convnext_tiny"]
)
def test_round_trip(name: str, tmp_path: Path) -> None:
    inputs = make_inputs(name, torch.float32)
    model = compressed(make_model(name, torch.float32), inputs, tmp_path / "model.pt")
    fresh = make_model(name, torch.float32)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.normal_()
        loaded = load_compressed(tmp_path / "model.pt", fresh).eval()
        assert loaded is fresh
        assert torch.equal(loaded(inputs), model(inputs))
    loaded.train()
    torch.manual_seed(0)
    outputs = loaded(inputs)
    getattr(outputs, "logits", outputs).sum().backward()


def test_round_trip_of_a_dense_model_and_of_depthwise_layers(tmp_path: Path) -> None:
    inputs = torch.randn(2, 3, 8, 8)
    for make, rate in ((odd.depthwise, 1.0), (odd.shared_weight, None)):
        model = make()
        kept = {}
        if rate is not None:
            pruning = prune(model, inputs[:1])
            pruning.set_rate(rate, [])
            kept = pruning.kept_masks()
        save_compressed(model, kept, tmp_path / "model.pt")
        loaded = load_compressed(tmp_path / "model.pt", make())
        assert torch.equal(loaded.eval()(inputs), model.eval()(inputs))


def test_the_file_is_small_and_its_size_is_known(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    model = odd.plain(width=64)
    dense = file_size(model, {})
    compressed(model, torch.randn(1, 3, 8, 8), path)
    assert file_size(model, read_checkpoint(path)["kept"]) == pytest.approx(
        path.stat().st_size, rel=0.01
    )
    assert path.stat().st_size < 0.7 * dense


def test_a_load_that_does_not_fit_names_layers_and_shapes(saved: Path) -> None:
    other = odd.plain(nn.BatchNorm2d(16), nn.ReLU(), width=16)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_compressed(saved, other)
    text = str(caught.value)
    assert "0.weight: [12, 3, 3, 3] in the file's dense model, [16, 3, 3, 3] in this one" in text
    assert "more" in text or "3.weight" in text
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())
    with pytest.raises(CheckpointError, match=r"0\.bias: not in the model"):
        load_compressed(saved, nn.Sequential(nn.Conv2d(3, 12, 3, bias=False)))


def test_truncated_files(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(0, len(whole), 97):
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.pt"):
            load_compressed(saved, odd.plain(nn.BatchNorm2d(12), nn.ReLU()))


def test_flipped_bits_never_load_wrong_weights(saved: Path) -> None:
    whole = saved.read_bytes()
    fresh = odd.plain(nn.BatchNorm2d(12), nn.ReLU())
    expected = load_compressed(saved, fresh).state_dict()
    refused = 0
    for position in range(0, len(whole), 23):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        saved.write_bytes(damaged)
        model = odd.plain(nn.BatchNorm2d(12), nn.ReLU())
        try:
            load_compressed(saved, model)
        except CheckpointError:
            refused += 1
        else:
            for name, tensor in model.state_dict().items():
                assert torch.equal(tensor, expected[name]), (position, name)
    assert refused > 100


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("ran",)


def test_code_in_a_file_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "accaware.compressed_model", "state_dict": _Code()}, "model.pt")
    with pytest.raises(CheckpointError):
        load_compressed("model.pt", nn.Linear(2, 2))
    assert not (tmp_path / "ran").exists()


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing\.pt can't be read"):
        load_compressed(tmp_path / "missing.pt", nn.Linear(2, 2))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="not a compressed model"):
        load_compressed(tmp_path / "plain.pt", nn.Linear(2, 2))
    save_compressed(nn.Linear(2, 2), {}, tmp_path / "model.pt")
    content = read_checkpoint(tmp_path / "model.pt")
    torch.save({**content, "version": 99}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="format version 99"):
        load_compressed(tmp_path / "model.pt", nn.Linear(2, 2))


class _Interrupting(nn.Linear):
    """A model that is stopped while its state is written."""

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, object]:  # type: ignore[override]
        return {"weight": torch.ones(2, 2), "bias": _Stops()}


class _Stops:
    def __reduce__(self) -> tuple[object, ...]:
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_compressed(nn.Linear(2, 2), {}, path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        save_compressed(_Interrupting(2, 2), {}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
