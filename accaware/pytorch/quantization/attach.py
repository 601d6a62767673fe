"""Quantizers on a model. They live in hooks: no parameter, name or module of the model changes."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

from accaware.pytorch.quantization.quantizers import ActivationQuantizer, WeightQuantizer

_ATTRIBUTE = "_accaware_quantizers"


@dataclass
class Quantizers:
    """All quantizers of a model, and a switch for them.

    Attributes:
        weights: by the name of the layer whose ``weight`` is quantized; any other parameter of a
            module (``in_proj_weight``) has its own name.
        activations: in the order in which the model comes to them.
        active: whether anything is quantized.
        handles: of the hooks, once attached.
    """

    weights: Mapping[str, WeightQuantizer]
    activations: Sequence[ActivationQuantizer]
    active: bool = True
    handles: list[RemovableHandle] = field(default_factory=list, repr=False, compare=False)

    def all(self) -> Iterator[WeightQuantizer | ActivationQuantizer]:
        """Those of weights, and then those of activations."""
        yield from self.weights.values()
        yield from self.activations


def weight_name(place: str, known: Container[str]) -> str:
    """The parameter that a quantizer of a weight is for.

    Args:
        place: its key in ``Quantizers.weights``; the model itself is a layer without a name.
        known: the names of all parameters.
    """
    name = f"{place}.weight".lstrip(".")
    return name if name in known else place


def module_and_key(modules: Mapping[str, nn.Module], place: str) -> tuple[nn.Module, str]:
    """The module that has the parameter, and what it calls it.

    Args:
        modules: of the model, by their names.
        place: as of ``weight_name``.
    """
    module = modules.get(place)
    if module is not None and module._parameters.get("weight") is not None:
        return module, "weight"
    owner, _, key = place.rpartition(".")
    return modules[owner], key


def attach(model: nn.Module, quantizers: Quantizers) -> None:
    """Quantize what ``quantizers`` say in each forward of ``model`` from here on."""
    modules = dict(model.named_modules())
    handles = quantizers.handles
    for place, quantizer in quantizers.weights.items():
        layer, key = module_and_key(modules, place)
        weight = _WeightHooks(quantizers, quantizer, key)
        handles.append(layer.register_forward_pre_hook(weight.before))
        handles.append(layer.register_forward_hook(weight.after, always_call=True))
    for activation in quantizers.activations:
        hooks, module = _ActivationHooks(quantizers, activation), modules[activation.module]
        if activation.side == "input":
            handles.append(module.register_forward_pre_hook(hooks.before, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(hooks.after))
    # Found again by attached_to, in copies of the model too.
    setattr(model, _ATTRIBUTE, quantizers)


def attached_to(model: nn.Module) -> Quantizers | None:
    """The model's quantizers, None where it has none."""
    quantizers = getattr(model, _ATTRIBUTE, None)
    return quantizers if isinstance(quantizers, Quantizers) else None


def is_quantized(model: nn.Module) -> bool:
    """Whether a forward of the model quantizes anything now."""
    quantizers = attached_to(model)
    return quantizers is not None and quantizers.active


def detach(model: nn.Module) -> Quantizers | None:
    """Take the model's quantizers off it; None where it has none."""
    quantizers = attached_to(model)
    if quantizers is not None:
        for handle in quantizers.handles:
            handle.remove()
        quantizers.handles.clear()
        delattr(model, _ATTRIBUTE)
    return quantizers


@dataclass
class _WeightHooks:
    quantizers: Quantizers
    quantizer: WeightQuantizer
    key: str

    def before(self, layer: nn.Module, args: Any) -> None:
        if self.quantizers.active:
            weight = layer._parameters.get(self.key)
            if weight is None:
                # DataParallel's replicas have plain tensors in the place of parameters.
                weight = layer.__dict__[self._replicated] = layer.__dict__[self.key]
            # Found before the parameter of the same name, which stays what it is.
            layer.__dict__[self.key] = self.quantizer(weight)

    def after(self, layer: nn.Module, args: Any, output: Any) -> None:
        if self.quantizers.active:
            layer.__dict__.pop(self.key, None)
        if self._replicated in layer.__dict__:
            layer.__dict__[self.key] = layer.__dict__.pop(self._replicated)

    @property
    def _replicated(self) -> str:
        return f"_accaware_replicated_{self.key}"


@dataclass
class _ActivationHooks:
    quantizers: Quantizers
    quantizer: ActivationQuantizer

    def before(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        inputs = list(args)
        for at, value in enumerate(inputs):
            if _is_floating(value):
                inputs[at] = self._quantized(value)
                return tuple(inputs), kwargs
        for name, value in kwargs.items():
            if _is_floating(value):
                return args, {**kwargs, name: self._quantized(value)}
        return None

    def after(self, module: nn.Module, args: Any, output: Any) -> Any:
        # What gives one tensor may give several in training: its auxiliary heads' too.
        return pytree.tree_map_only(
            Tensor, lambda each: self._quantized(each) if _is_floating(each) else each, output
        )

    def _quantized(self, tensor: Tensor) -> Tensor:
        if not self.quantizers.active or not tensor.numel():
            return tensor
        if self.quantizer.observer is not None:
            self.quantizer.observer(tensor.detach())
            return tensor
        return self.quantizer(tensor)


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
