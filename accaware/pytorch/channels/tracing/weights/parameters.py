"""A model's parameters and buffers: what they are called, and which layers' weights they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.channels.weight_norm import weight_norms
from accaware.pytorch.model.layers import (
    EMBEDDINGS,
    PRODUCERS,
    RECURRENT,
    weight_origin,
    weight_shape,
    why_computed,
)
from accaware.pytorch.model.registered import registration_of


class Parameters:
    """A model's parameters and buffers by their names.

    A layer is called as its module is. Where a weight isn't the module's ``weight``, nor what that
    is computed from, the layer is called as the weight: a module may have several.

    Attributes:
        modules: all of the model's, by their names.
        owners: what may be a layer's weight -> the module whose it is.
        weights: layer -> the name of its weight, or of what that is computed from; None where a
            layer of torch's has neither.
        computed: layers whose weight is made of other tensors -> why they aren't pruned, where they
            aren't.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.owners: dict[str, str] = {}
        self.weights: dict[str, str | None] = {}
        self.computed: dict[str, str] = {}
        # A buffer that the forward replaces is forgotten: another tensor may get its identity.
        self._names: Any = WeakIdKeyDictionary()
        self._norms = {norm.direction: norm.scale for norm in weight_norms(model)}
        for prefix, module in self.modules.items():
            parameters = dict(module.named_parameters(recurse=False))
            for key, tensor in (*parameters.items(), *module.named_buffers(recurse=False)):
                self._names[tensor] = [*self.names(tensor), _joined(prefix, key)]
            origin = weight_origin(module)
            torchs_own = isinstance(module, (*PRODUCERS, *EMBEDDINGS))
            if torchs_own:
                self.weights[prefix] = None if origin is None else _joined(prefix, origin)
                if (reason := why_computed(module)) is not None:
                    self.computed[prefix] = reason
            for key in _weights_of(module, origin):
                name = _joined(prefix, key)
                self.owners.setdefault(name, prefix)
                if not _is_parameter(module, key) or (torchs_own and key == origin):
                    continue
                self.weights[
                    (prefix or name) if key == origin else name.removesuffix(".weight")
                ] = name

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._names

    def names(self, tensor: Tensor) -> list[str]:
        """Several, where modules share it; none of other tensors."""
        names: list[str] = self._names.get(tensor, [])
        return names

    def is_torchs(self, layer: str) -> bool:
        """Whether the layer, or the module whose weight it is, is one of torch's own."""
        weight = self.weights[layer]
        owner = layer if weight is None else self.owners[weight]
        kinds = (*PRODUCERS, *EMBEDDINGS) if layer == owner else RECURRENT
        return isinstance(self.modules[owner], kinds)

    def producer(self, name: str) -> nn.Module | None:
        """The convolution or linear layer whose own weight it is, or is computed from."""
        owner = self.owners.get(name)
        if owner is None or self.weights.get(owner) != name:
            return None
        module, (path, _, key) = self.modules[owner], name.rpartition(".")
        if not isinstance(module, PRODUCERS):
            return None
        tensor = self.modules[path].get_parameter(key)
        alone = len(self.names(tensor)) == 1
        return module if alone and tensor.shape == weight_shape(module) else None

    def is_weight_norm(self, direction: Tensor, scale: Tensor) -> bool:
        """Whether a layer's weight norm has these two parameters."""
        mine, theirs = (self.names(each) or [""] for each in (direction, scale))
        return self._norms.get(mine[0]) == theirs[0]


def _joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _is_parameter(module: nn.Module, name: str) -> bool:
    """Rather than a buffer, or nothing (what a registration says may be wrong)."""
    try:
        module.get_parameter(name)
    except AttributeError:
        return False
    return True


def _weights_of(module: nn.Module, origin: str | None) -> list[str]:
    """Names of parameters that are weights of a layer of torch's, or may be of a user's."""
    if (registration := registration_of(module)) is not None:
        return sorted(registration.tensors)
    of_torch = (
        [origin] if origin is not None and isinstance(module, (*PRODUCERS, *EMBEDDINGS)) else []
    )
    if type(module).__module__.startswith("torch.") and not isinstance(module, RECURRENT):
        return of_torch
    own = [key for key, each in module._parameters.items() if each is not None and each.dim() > 1]
    return [*of_torch, *(key for key in own if key not in of_torch)]
