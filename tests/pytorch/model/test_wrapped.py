"""Models handed over compiled, or as DataParallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.model.wrappers import unwrapped
from tests.pytorch.training.scripts import PRUNING, adaptive, early_exit

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
MIX: list[dict[str, Any]] = [
    {**PRUNING, "params": {**PRUNING["params"], "prune_first_conv": True}},
    {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 4}}},
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)).eval()


def compiled(model: nn.Module) -> nn.Module:
    made = torch.compile(model, backend="eager")
    assert isinstance(made, nn.Module)
    return made


def run(model: nn.Module) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(IMAGES)
    return output


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize(
    # Compiled code whose shapes stay doesn't look at new hooks by itself.
    ("wrap", "sections"),
    [(compiled, MIX[1:]), (nn.DataParallel, MIX)],
)
def test_what_is_within_is_compressed_and_loads_by_its_own_names(
    wrap: Callable[[nn.Module], nn.Module], sections: list[dict[str, Any]], tmp_path: Path
) -> None:
    bare = network()
    model = wrap(bare)
    run(model)  # compiled before anything is hooked into it
    controller, given = create_compressed_model(
        model, early_exit(sections), IMAGES[:1], [(IMAGES, torch.zeros(4))]
    )
    assert given is model
    assert controller.model is bare
    controller.compression_rate = 0.5
    assert torch.equal(run(model), run(bare))
    assert not torch.equal(run(bare), run(network()))
    path = tmp_path / "model.pt"
    save_compressed(model, controller.algorithm.kept_masks(), path)
    for again in (network(), wrap(network())):
        assert load_compressed(path, again) is again
        assert torch.equal(run(unwrapped(again)), run(bare))
    assert list(torch.load(path, weights_only=True)["state_dict"]) == list(bare.state_dict())


def test_a_compiled_layer_is_followed() -> None:
    model = network()
    model[0] = compiled(model[0])
    controller, _ = create_compressed_model(
        model, adaptive(MIX), IMAGES[:1], [(IMAGES, torch.zeros(4))]
    )
    controller.compression_rate = 0.5
    assert controller.compression_rate == 0.5
    assert run(model).isfinite().all()


def test_a_wrapper_around_a_wrapper_is_taken_off_too() -> None:
    bare = nn.Linear(3, 4)
    assert unwrapped(nn.DataParallel(compiled(bare))) is bare


def test_what_cannot_follow_shapes_is_refused() -> None:
    class Parallel(nn.parallel.DistributedDataParallel):
        def __init__(self) -> None:
            nn.Module.__init__(self)

    with pytest.raises(UsageError, match="train_epoch"):
        unwrapped(Parallel())
