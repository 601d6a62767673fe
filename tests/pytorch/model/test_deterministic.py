"""What functions give without values is told by hand where torch is slow: it has torch's shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from accaware.pytorch.model.deterministic import call_steadily

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


FITTING: dict[str, Call] = {
    "batch norm": (
        functional.batch_norm, (meta(2, 4, 3, 3), meta(4), meta(4)), {"weight": meta(4)},
    ),
    "batch norm of its own statistics": (
        functional.batch_norm, (meta(8, 4), None, None), {"training": True},
    ),
    "layer norm": (functional.layer_norm, (meta(2, 5, 4), (4,), meta(4), meta(4)), {}),
    "layer norm over two": (functional.layer_norm, (meta(2, 5, 4), [5, 4]), {"eps": 1e-3}),
    "layer norm, moved": (functional.layer_norm, (meta(2, 4, 5).transpose(1, 2), (4,)), {}),
    "gelu": (functional.gelu, (meta(2, 5),), {"approximate": "tanh"}),
    "gelu, moved": (functional.gelu, (meta(2, 4, 5).transpose(1, 2),), {}),
    "linear": (functional.linear, (meta(2, 5, 4), meta(7, 4), meta(7)), {}),
    "linear of a vector": (functional.linear, (meta(4), meta(7, 4)), {}),
    "normalize": (functional.normalize, (meta(2, 5, 4),), {"dim": -1}),
}  # fmt: skip
UNFIT: dict[str, Call] = {
    "batch norm": (functional.batch_norm, (meta(2, 4, 3, 3), meta(5), meta(5)), {}),
    "layer norm": (functional.layer_norm, (meta(2, 5, 4), (5,)), {}),
    "layer norm's weight": (functional.layer_norm, (meta(2, 5, 4), (4,), meta(3)), {}),
    "linear": (functional.linear, (meta(2, 5), meta(7, 4)), {}),
    "linear's bias": (functional.linear, (meta(2, 4), meta(7, 4), meta(6)), {}),
}


@pytest.mark.parametrize("name", FITTING)
def test_without_values_it_has_the_same_shape(name: str) -> None:
    func, args, kwargs = FITTING[name]
    found, expected = call_steadily(func, args, kwargs), func(*args, **kwargs)
    for told in ("shape", "dtype", "device"):
        assert getattr(found, told) == getattr(expected, told)
    assert found.stride() == expected.stride()


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_refused_as_torch_refuses_it(name: str) -> None:
    func, args, kwargs = UNFIT[name]
    with pytest.raises(RuntimeError) as theirs:
        func(*args, **kwargs)
    with pytest.raises(RuntimeError) as own:
        call_steadily(func, args, kwargs)
    assert str(own.value) == str(theirs.value)


def test_what_has_values_is_computed() -> None:
    x, weight = torch.randn(3, 4), torch.randn(5, 4)
    assert torch.equal(call_steadily(functional.linear, (x, weight), {}), x @ weight.T)
