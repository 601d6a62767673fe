"""Copies of models that hold what copy.deepcopy refuses, or would share."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from accaware.errors import CompressionError
from accaware.pytorch.model.copies import copied, copy_in, copy_without_values

INPUTS = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    """A linear layer that also holds something."""

    def __init__(self, held: Any = None) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.held = held

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        return output


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x)
        return output


@dataclass(slots=True)
class Held:
    lock: Any


class Slotted(Layer):
    __slots__ = ("factor",)

    def __init__(self) -> None:
        super().__init__()
        self.factor = 3

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.factor


class CopiesItself(Layer):
    def __deepcopy__(self, memo: Any) -> CopiesItself:
        made = CopiesItself()
        made.load_state_dict(self.state_dict())
        return made


class SharesItself(Layer):
    def __deepcopy__(self, memo: Any) -> SharesItself:
        return self


class KnowsItsParent(nn.Module):
    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        self.parent = weakref.ref(parent)

    def forward(self, x: Tensor) -> Tensor:
        parent = self.parent()
        assert parent is not None
        output: Tensor = parent.get_submodule("linear")(x)
        return output


def with_a_child_that_knows_it() -> nn.Module:
    model = Layer()
    model.child = KnowsItsParent(model)
    model.forward = model.child.forward  # type: ignore[method-assign]
    return model


def with_a_cached_activation() -> nn.Module:
    model = Layer()
    model.held = {"seen": [model.linear(INPUTS)]}
    return model


def with_a_watch() -> nn.Module:
    class Watch:
        def __init__(self) -> None:
            self.lock, self.seen = threading.Lock(), 0

        def see(self, *_: Any) -> None:
            with self.lock:
                self.seen += 1

    model = Layer()
    model.linear.register_forward_hook(Watch().see)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "lock": lambda: Layer(threading.Lock()),
    "lock in an object with slots": lambda: Layer([Held(threading.RLock())]),
    "queue": lambda: Layer({"queue": queue.Queue()}),
    "generator of random numbers": lambda: Layer(torch.Generator()),
    "module of Python": lambda: Layer(threading),
    "cached activation": with_a_cached_activation,
    "hook of an object with a lock": with_a_watch,
    "weakref": with_a_child_that_knows_it,
    "slots": Slotted,
    "own __deepcopy__": lambda: Outer(CopiesItself()),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[request.param]()


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def test_a_copy_computes_the_same_and_shares_nothing(model: nn.Module) -> None:
    made = copied(model)
    mine, theirs = tensors(model), tensors(made)
    assert list(mine) == list(theirs)
    assert not {tensor.data_ptr() for tensor in mine.values()} & {
        tensor.data_ptr() for tensor in theirs.values()
    }
    assert torch.equal(made(INPUTS), model(INPUTS))
    for tensor in theirs.values():
        tensor.data.add_(1)
    assert not torch.equal(made(INPUTS), model(INPUTS))


def test_a_copy_without_values_has_all_shapes(model: nn.Module) -> None:
    made = copy_without_values(model)
    assert all(tensor.is_meta for tensor in tensors(made).values())
    assert made(INPUTS.to("meta")).shape == model(INPUTS).shape


def test_a_copy_in_double_precision_is_one_throughout(model: nn.Module) -> None:
    made = copy_in(model, torch.float64)
    assert torch.allclose(made(INPUTS.double()).float(), model(INPUTS))
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_an_open_file_is_shared(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        made = copied(Layer(file))
        assert made.held is file


def test_a_layer_with_an_old_weight_norm_follows_its_own_parameters() -> None:
    with pytest.warns(FutureWarning):
        model = nn.Sequential(weight_norm(nn.Linear(3, 4)))
    made = copied(model)
    made[0].weight_g.data.mul_(2)
    assert torch.allclose(
        made(INPUTS) - made[0].bias, 2 * (model(INPUTS) - model[0].bias), atol=1e-6
    )


def test_a_hook_of_a_copy_tells_the_model_nothing() -> None:
    model = with_a_watch()
    (hook,) = model.get_submodule("linear")._forward_hooks.values()
    copied(model)(INPUTS)
    assert hook.__self__.seen == 0


def numbers() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("copy", [copied, copy_without_values])
def test_what_cannot_be_copied_is_named(copy: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(CompressionError, match=r"inner\.held \(generator\)"):
        copy(Outer(Layer(numbers())))
    with pytest.raises(CompressionError, match=r"inner \(SharesItself\)"):
        copy(Outer(SharesItself()))
