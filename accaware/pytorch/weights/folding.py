"""Standardised weights, folded: a plain layer holds what its forward computed each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch.data.evaluation import evaluating
from accaware.pytorch.model.forward_watch import ForwardWatch
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import PRODUCERS, TRANSPOSED
from accaware.pytorch.weights.mixed import layers_with_own_forward
from accaware.pytorch.weights.products import weight_argument


def fold_computed_weights(model: nn.Module, example_inputs: Any) -> tuple[str, ...]:
    """Replace layers that compute their weight in each forward by plain ones that hold it.

    That is for weight standardisation (BiT's ``StdConv2d``, the NFNets' ``ScaledStdConv2d``): a
    folded layer computes what it did before, can lose inputs, has zeros where it is made sparse,
    and multiplies with integers where it is quantized. Training changes the weight itself from then
    on. A layer whose forward does more than that, as one that pads by the size of its input, is
    left as it is. What ``torch.nn.utils`` computes has its own remedies there, such as
    ``parametrize.remove_parametrizations``.

    Args:
        model: changed in place; fold it before anything else knows its parameters, and again
            before a checkpoint of the folded one is loaded.
        example_inputs: for its forward, as for create_compressed_model; no zeros, as layers are
            compared on what they are given.

    Returns:
        The names of the layers that are folded now.

    Raises:
        Exception: whatever the model's forward raises.
    """
    layers = _foldable(model)
    if not layers:
        return ()
    with evaluating(model), _Computed(layers).watching(model) as watch:
        ExampleInputs.of(example_inputs).call(model)
    folded = {
        id(layers[name]): plain
        for name, weight in watch.weights.items()
        if (plain := _plain(layers[name], weight)) is not None
        and _compute_the_same(layers[name], plain, watch.inputs[name])
    }
    for module in list(model.modules()):
        for key, child in list(module.named_children()):
            if id(child) in folded:
                setattr(module, key, folded[id(child)])
    return tuple(name for name in layers if id(layers[name]) in folded)


def _foldable(model: nn.Module) -> dict[str, nn.Module]:
    """Layers that nothing else holds on to: no hook, and no layer that shares their weight."""
    uses = Counter(
        id(parameter)
        for module in model.modules()
        for parameter in module.parameters(recurse=False)
    )
    return {
        name: layer
        for name, layer in layers_with_own_forward(model).items()
        if name
        and uses[id(layer.weight)] == 1
        and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)
    }


class _Computed(ForwardWatch):
    """What layers multiply with, and what they are given.

    Attributes:
        weights: by the layer's name; of those alone that don't multiply with their parameter.
        inputs: by the layer's name, the last that it was given.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.weights: dict[str, Tensor] = {}
        self.inputs: dict[str, Any] = {}
        self._layers = layers

    def entered(self, inputs: Any) -> None:
        if self.module in self._layers:
            self.inputs[self.module] = inputs

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        layer: Any = self._layers.get(self.module)
        weight = weight_argument(getattr(func, "__name__", ""), args, kwargs)
        if layer is not None and weight is not None and _is_another(weight, layer.weight):
            self.weights[self.module] = weight
        return func(*args, **kwargs)


def _is_another(weight: Tensor, parameter: Tensor) -> bool:
    """Rather than a copy, or the same in another precision."""
    return weight.dtype == parameter.dtype and not torch.equal(weight, parameter)


def _plain(layer: Any, weight: Tensor) -> nn.Module | None:
    """A layer of torch's own class with this weight; None where there can't be one."""
    kind = next(each for each in PRODUCERS if isinstance(layer, each))
    bias = layer.bias is not None
    if kind is nn.Linear:
        plain: Any = kind(layer.in_features, layer.out_features, bias, device="meta")
    else:
        own = {"output_padding": layer.output_padding} if kind in TRANSPOSED else {}
        names = (
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "padding",
            "dilation",
            "groups",
            "padding_mode",
        )
        numbers = {name: getattr(layer, name) for name in names}
        plain = kind(**numbers, **own, bias=bias, device="meta")
    if weight.shape != plain.weight.shape:
        return None
    plain.weight = nn.Parameter(weight.detach().clone(), layer.weight.requires_grad)
    plain.bias = layer.bias
    return plain.train(layer.training)  # type: ignore[no-any-return]


def _compute_the_same(layer: Any, plain: nn.Module, inputs: Any) -> bool:
    """In both modes, on what the layer was given, and on other values at a size larger by one.

    Its weight may depend on its input, and its padding on the size of that.
    """
    args, kwargs = inputs
    if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
        return False
    dims = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
    given = (args[0], functional.pad(1 + 2 * args[0], (0, 1) * dims))
    training = layer.training
    try:
        with torch.no_grad():
            return all(
                _near(layer.train(mode)(each), plain(each))
                for mode in (not training, training)
                for each in given
            )
    finally:
        layer.train(training)


def _near(expected: Tensor, found: Tensor) -> bool:
    scale = expected.abs().amax().item() if expected.numel() else 0.0
    return expected.shape == found.shape and torch.allclose(
        expected, found, rtol=1e-4, atol=1e-5 * scale
    )
