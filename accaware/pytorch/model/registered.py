"""Layers of the user's own, whose forward nobody can follow, and what they say of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from accaware.errors import UsageError


@dataclass(frozen=True)
class Registration:
    """What ``register_layer`` was told of a class.

    Attributes:
        reads: a parameter's or buffer's name -> its dimension along which the input's channels lie.
        makes: the same of the output's.
        input_dim: the dimension of the input along which its channels lie.
        output_dim: the same of the output.
        resize: tells a module that its tensors have other sizes; None where it keeps no number.
    """

    reads: Mapping[str, int]
    makes: Mapping[str, int]
    input_dim: int
    output_dim: int
    resize: Callable[[Any], None] | None

    @property
    def tensors(self) -> frozenset[str]:
        """The names of all tensors that it tells of."""
        return frozenset((*self.reads, *self.makes))


_REGISTERED: dict[type[nn.Module], Registration] = {}


def register_layer(
    cls: type[nn.Module],
    *,
    reads: Mapping[str, int] | None = None,
    makes: Mapping[str, int] | None = None,
    resize: Callable[[Any], None] | None = None,
    input_dim: int = 1,
    output_dim: int = 1,
) -> None:
    """Teach filter pruning a layer of your own, whose forward it can't follow.

    A forward that is made of torch's functions needs none of this. One that calls an operator of
    yours does, or NumPy, or an autograd.Function around these. What is registered is a claim: on
    your model the layer without some channels must compute what it computes when nobody reads them,
    or it is left alone, and the reason says so.

    A tensor of the module that is named in ``reads`` and in ``makes``, with another dimension in
    each, is a weight, whose filters are ranked. One that has the same dimension in both works
    channel by channel (a scale), so that the output's channels are the input's.

        register_layer(
            SparseLinear,
            reads={"weight": 1},
            makes={"weight": 0, "bias": 0},
            resize=lambda layer: setattr(layer, "outputs", len(layer.bias)),
            input_dim=-1,
            output_dim=-1,
        )

    Call it where the class is defined: whoever loads a compressed model has imported it then, and
    so has a run whose plugin imports it. Subclasses are meant too; to register again replaces.

    Args:
        cls: the layer's class.
        reads: a parameter's or buffer's name -> its dimension along which the channels lie that
            the layer reads, in the order of the input's.
        makes: the same for the channels of the output.
        resize: called with a module after its tensors have changed, with fewer channels or more, to
            set the numbers that it keeps of them; None where it keeps none.
        input_dim: the dimension of the input (the first tensor that the forward is given) along
            which its channels lie.
        output_dim: the same of the output, or of the first of several.

    Raises:
        UsageError: that can't be of any layer; says what is wrong.
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise UsageError(f"register_layer: {cls!r} is no class of modules")
    kind = cls.__name__
    for argument, tensors in (("reads", reads), ("makes", makes)):
        for name, dim in (tensors or {}).items():
            if not isinstance(name, str) or type(dim) is not int or dim < 0:
                raise UsageError(
                    f"register_layer({kind}): {argument} has {name!r}: {dim!r}, and not the name "
                    "of a tensor and its dimension, counted from 0"
                )
    for argument, dim in (("input_dim", input_dim), ("output_dim", output_dim)):
        if type(dim) is not int:
            raise UsageError(f"register_layer({kind}): {argument} is {dim!r}, and no whole number")
    if not (reads or makes):
        raise UsageError(f"register_layer({kind}): it reads nothing and makes nothing")
    if resize is not None and not callable(resize):
        raise UsageError(f"register_layer({kind}): resize is {resize!r}, which can't be called")
    _REGISTERED[cls] = Registration(
        dict(reads or {}), dict(makes or {}), input_dim, output_dim, resize
    )


def registration_of(module: nn.Module) -> Registration | None:
    """What was told of its class, or the nearest one that it is a subclass of."""
    if not _REGISTERED:
        return None
    return next((_REGISTERED[kind] for kind in type(module).__mro__ if kind in _REGISTERED), None)
