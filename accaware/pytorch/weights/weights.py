"""Every weight of a model: what its module is, and along which dimension its inputs lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor, nn

from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import PRODUCERS, TRANSPOSED, tensor_computed_from, why_computed
from accaware.pytorch.weights.mixed import mixing_layers
from accaware.pytorch.weights.products import products_of

MIXED = (
    "its forward multiplies with what it computes from all of this weight: where it does no more, "
    "accaware.pytorch.fold_computed_weights(model, example_inputs) makes it an ordinary one"
)
_RECURRENT = re.compile(r"weight_(ih|hh|hr)(_l\d+(_reverse)?)?")
_PROJECTION = re.compile(r"(in|q|k|v)_proj_weight")
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


class Role(Enum):
    """What a weight does."""

    LAYER = "the weight of a convolution or a linear layer"
    RECURRENT = "a matrix of an RNN, LSTM or GRU"
    ATTENTION = "a projection of nn.MultiheadAttention"
    PRODUCT = "a parameter that a module multiplies its inputs with"
    EMBEDDING = "rows that are looked up"


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight at one place of a model; one that is tied is at several.

    Attributes:
        name: the parameter's.
        layer: the name of the module that it is of; empty for the model itself.
        key: its name in the module.
        role: None where the forward doesn't multiply with it, as far as is known.
        reason: why it has no role.
        inputs: the dimension along which the inputs lie that go into one output; None where that
            isn't known.
        outputs: the dimension of the outputs, likewise.
        products: how many products of the module's own forward take it, where that was followed.
        sparse_gradient: whether training gives it the gradient of a few rows alone.
    """

    name: str
    layer: str
    key: str
    parameter: Tensor
    role: Role | None = None
    reason: str | None = None
    inputs: int | None = None
    outputs: int | None = None
    products: int = 0
    sparse_gradient: bool = False


def weights_of(model: nn.Module, inputs: ExampleInputs) -> list[Weight]:
    """All weights of a model, in the order of its modules.

    They are the parameters with two dimensions or more that have a size; scales, biases and
    tokens are none. A tied weight is there once for each of its names.

    Args:
        model: it is copied, not touched, and that only where it takes a forward to know.
        inputs: of that forward.

    Raises:
        CompressionError: the model can't be copied.
        Exception: whatever its forward raises.
    """
    mixing = mixing_layers(model, inputs)
    found = [
        replace(each, role=None, reason=MIXED)
        if each.role is Role.LAYER and each.layer in mixing
        else each
        for each in _by_their_modules(model)
    ]
    unknown = frozenset(each.name for each in found if each.role is None and each.reason is None)
    if not unknown:
        return found
    products, looked_up = products_of(model, inputs, unknown)
    firsts: dict[int, str] = {}
    for each in found:
        if each.name in products or each.name in looked_up:
            firsts.setdefault(id(each.parameter), each.name)
    followed = []
    for each in found:
        name = firsts.get(id(each.parameter), each.name)
        if each.name not in unknown:
            followed.append(each)
        elif (product := products.get(name)) is not None:
            times = product.times if product.module == each.layer else 0
            followed.append(
                replace(
                    each,
                    role=Role.PRODUCT,
                    inputs=product.inputs,
                    outputs=product.outputs,
                    products=times,
                )
            )
        elif name in looked_up:
            followed.append(replace(each, role=Role.EMBEDDING))
        else:
            reason = "no convolution, linear layer or other product of the forward multiplies by it"
            followed.append(replace(each, reason=reason))
    return followed


def _by_their_modules(model: nn.Module) -> Iterator[Weight]:
    """As far as the kind of a module tells; what is left has neither a role nor a reason."""
    modules = dict(model.named_modules())
    for name, module in modules.items():
        # What a layer's weight is computed from is the layer's.
        layer, _, computed = name.partition("parametrizations.")
        layer = layer.removesuffix(".")
        for key, parameter in module.named_parameters(recurse=False):
            weight = Weight(f"{name}.{key}".lstrip("."), layer, key, parameter)
            role = None if computed else _role(module, key)
            if role is not None:
                first = isinstance(module, TRANSPOSED)
                looked_up = role is Role.EMBEDDING
                yield replace(
                    weight,
                    role=role,
                    inputs=None if looked_up else int(not first),
                    outputs=int(first),
                    sparse_gradient=looked_up and bool(module.sparse),
                )
                continue
            if sum(size > 1 for size in parameter.shape) < 2:
                continue
            if computed:
                tensor = computed.partition(".")[0]
                yield replace(weight, reason=why_computed(modules[layer], tensor))
            elif isinstance(module, torch.jit.ScriptModule):
                reason = "it is scripted by torch.jit, and nobody sees what its layers do"
                yield replace(weight, reason=reason)
            elif (tensor_ := tensor_computed_from(module, key)) is not None:
                yield replace(weight, reason=why_computed(module, tensor_))
            else:
                yield weight


def _role(module: nn.Module, key: str) -> Role | None:
    if isinstance(module, torch.jit.ScriptModule):
        return None
    if isinstance(module, PRODUCERS) and key == "weight":
        return Role.LAYER
    if isinstance(module, nn.RNNBase | nn.RNNCellBase) and _RECURRENT.fullmatch(key):
        return Role.RECURRENT
    if isinstance(module, nn.MultiheadAttention) and _PROJECTION.fullmatch(key):
        return Role.ATTENTION
    if isinstance(module, _LOOKED_UP) and key == "weight":
        return Role.EMBEDDING
    return None
