"""Models handed over compiled, or as DataParallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.wrappers import unwrapped
from tests.pytorch.quantization.scripts import batches
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, adaptive
from tests.runners.torch_case import trained_model


def compiled(model: nn.Module) -> nn.Module:
    made = torch.compile(model, backend="eager")
    assert isinstance(made, nn.Module)
    return made


def run(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = model.eval()(images)
    return output


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": compiled,
    "parallel": nn.DataParallel,
}


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_what_is_within_is_pruned_and_rounded_and_loads_by_its_own_names(
    wrap: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    bare = trained_model()
    model = wrap(bare)
    images = batches()[0][0]
    run(model, images)  # compiled before anything is hooked into it
    mix = [PRUNING, {"algorithm": "quantization"}]
    controller, given = create_compressed_model(model, adaptive(mix), EXAMPLE, batches())
    assert given is model
    assert controller.model is bare
    controller.compression_rate = 0.5
    assert torch.equal(run(model, images), run(bare, images))
    assert not torch.equal(run(bare, images), run(trained_model(), images))
    path = tmp_path / "model.pt"
    save_compressed(model, controller.algorithm.kept_masks(), path)
    for again in (trained_model(), wrap(trained_model())):
        assert torch.equal(run(load_compressed(path, again), images), run(bare, images))
    assert list(torch.load(path, weights_only=True)["state_dict"]) == list(bare.state_dict())


def test_a_compiled_layer_is_followed() -> None:
    model = trained_model()
    for name, child in list(model.named_children()):
        setattr(model, name, compiled(child))
    controller, _ = create_compressed_model(model, adaptive(PRUNING), EXAMPLE)
    controller.compression_rate = 0.5
    assert controller.compression_rate > 0.4
    with torch.no_grad():
        assert model(EXAMPLE).isfinite().all()


def test_a_wrapper_around_a_wrapper_is_taken_off_too() -> None:
    bare = nn.Linear(3, 4)
    assert unwrapped(nn.DataParallel(compiled(bare))) is bare


def test_what_cannot_follow_shapes_is_refused() -> None:
    class Parallel(nn.parallel.DistributedDataParallel):
        def __init__(self) -> None:
            nn.Module.__init__(self)

    with pytest.raises(UsageError, match="train_epoch"):
        unwrapped(Parallel())
