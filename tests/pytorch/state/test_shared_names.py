"""A file gives back what has several names, or none in a state dict, and holds it once."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware import AccAwareConfig
from accaware.errors import CheckpointError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.state.checkpoint import file_size, read_checkpoint
from tests.pytorch.channels import odd_models as odd
from tests.pytorch.channels.shared_models import MODELS, Scaled, tied_layers

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
PRUNING = {
    "algorithm": "filter_pruning",
    "params": {"prune_first_conv": True, "prune_downsample_convs": True},
}
QUANTIZATION = {
    "algorithm": "quantization",
    "initializer": {
        "range": {"num_init_samples": 2},
        "batchnorm_adaptation": {"num_bn_adaptation_samples": 0},
    },
}
MIXES: dict[str, list[dict[str, Any]]] = {
    "pruning": [PRUNING],
    "int8": [QUANTIZATION],
    "both": [PRUNING, QUANTIZATION],
}

make_each = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def config(mix: list[dict[str, Any]]) -> AccAwareConfig:
    params = {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200}
    training = {"mode": "early_exit", "params": params}
    return AccAwareConfig.from_dict({"accuracy_aware_training": training, "compression": mix})


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def other(make: Callable[[], nn.Module]) -> nn.Module:
    """The same architecture with other values."""
    model = made(make)
    with torch.no_grad():
        for tensor in tensors_of(model).values():
            if tensor.is_floating_point():
                tensor.add_(1)
    return model


def compressed(make: Callable[[], nn.Module], mix: list[dict[str, Any]], path: Path) -> nn.Module:
    controller, model = create_compressed_model(
        made(make), config(mix), EXAMPLE[:1], [(EXAMPLE, torch.zeros(2))]
    )
    controller.compression_rate = 0.4
    save_compressed(model, controller.algorithm.kept_masks(), path)
    return model.eval()


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(EXAMPLE)
    return result


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@make_each
def test_it_comes_back_to_the_bit(
    make: Callable[[], nn.Module], mix: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    model = compressed(make, mix, path)
    loaded = load_compressed(path, other(make))
    assert torch.equal(outputs(loaded), outputs(model))
    assert not torch.equal(outputs(loaded), outputs(made(make)))
    if PRUNING in mix:
        assert read_checkpoint(path)["kept"]
    # What is tied stays tied.
    assert tensors_of(loaded).keys() == tensors_of(model).keys()


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@make_each
def test_each_tensor_is_in_the_file_once(
    make: Callable[[], nn.Module], mix: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    model = compressed(make, mix, path)
    content = read_checkpoint(path)
    with zipfile.ZipFile(path) as archive:
        names = [name.split("/")[-2:] for name in archive.namelist()]
        stored = sum(1 for folder, number in names if folder == "data" and number.isdigit())
    masks = {id(mask) for dims in content["kept"].values() for mask in dims.values()}
    quantizers = 2 * len((content["quantizers"] or {"weights": {}})["weights"])
    assert stored == len(tensors_of(model)) + len(masks) + quantizers


def test_a_part_of_a_larger_tensor_is_in_the_file_alone_and_once(tmp_path: Path) -> None:
    whole = torch.randn(1000, 8)
    first, second = nn.Linear(8, 4), nn.Linear(8, 4)
    first.weight = nn.Parameter(whole[:4])
    second.weight = nn.Parameter(whole[:4])
    model = nn.ModuleList([first, second])
    save_compressed(model, {}, tmp_path / "model.pt")
    assert file_size(model, {}) == (tmp_path / "model.pt").stat().st_size < 4000
    loaded = load_compressed(
        tmp_path / "model.pt", nn.ModuleList([nn.Linear(8, 4), nn.Linear(8, 4)])
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_buffers_that_training_changed_come_back_and_caches_that_grew_do_no_harm(
    tmp_path: Path,
) -> None:
    model = made(Scaled)
    model.register_buffer("cache", torch.ones(7), persistent=False)
    model.register_buffer("made_in_forward", torch.ones(2), persistent=False)
    model.shift.normal_()
    save_compressed(model, {}, tmp_path / "model.pt")
    fresh = made(Scaled)
    fresh.register_buffer("cache", torch.zeros(3), persistent=False)
    loaded = load_compressed(tmp_path / "model.pt", fresh)
    assert torch.equal(outputs(loaded), outputs(model))
    assert torch.equal(loaded.cache, torch.zeros(3))


def as_version_1(content: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """As it was written then: masks by first names alone, tensors of all names one by one."""
    del content["buffers"]
    content["version"] = 1
    content["state_dict"] = {name: each.clone() for name, each in content["state_dict"].items()}
    firsts = tensors_of(model)
    content["kept"] = {name: dims for name, dims in content["kept"].items() if name in firsts}
    return content


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@make_each
def test_files_of_version_1_load(
    make: Callable[[], nn.Module], mix: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    model = compressed(make, mix, path)
    torch.save(as_version_1(read_checkpoint(path), model), path)
    fresh = made(make) if make is Scaled else other(make)
    assert torch.equal(outputs(load_compressed(path, fresh)), outputs(model))


def test_what_is_one_tensor_in_the_model_and_two_in_the_file_is_told(tmp_path: Path) -> None:
    untied = made(tied_layers)
    untied.third.weight = nn.Parameter(untied.third.weight + 1)
    save_compressed(untied, {}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"third\.weight: the same tensor as second\.weight"):
        load_compressed(tmp_path / "model.pt", made(tied_layers))


def test_a_model_that_waits_for_its_first_call_is_told(tmp_path: Path) -> None:
    save_compressed(nn.Linear(3, 2), {}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="weight: has no shape in this model yet"):
        load_compressed(tmp_path / "model.pt", nn.LazyLinear(2))


def test_a_layer_that_is_the_whole_model_is_quantized_and_comes_back(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Conv2d(3, 4, 3)

    path = tmp_path / "model.pt"
    model = compressed(make, [QUANTIZATION], path)
    assert torch.equal(outputs(load_compressed(path, other(make))), outputs(model))


def test_a_refused_model_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    compressed(lambda: odd.plain(nn.BatchNorm2d(12)), [PRUNING], path)
    content = read_checkpoint(path)
    content["state_dict"]["1.num_batches_tracked"] = torch.tensor(0.5)
    torch.save(content, path)
    fresh = odd.plain(nn.BatchNorm2d(12))
    before = {name: tensor.clone() for name, tensor in tensors_of(fresh).items()}
    with pytest.raises(
        CheckpointError, match=r"1\.num_batches_tracked: torch\.float32 in the file"
    ):
        load_compressed(path, fresh)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(fresh).items())
