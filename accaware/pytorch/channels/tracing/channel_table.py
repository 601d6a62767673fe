"""The channel ids of a model's tensors, during one forward pass and after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.channels.tracing.coupling import ChannelIds, Coupling, thin, varies
from accaware.pytorch.model.layers import CONVOLUTIONS, TRANSPOSED, count_of, why_computed

PRODUCERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


@dataclass(frozen=True)
class Weight:
    """A layer's weight: the channel ids of its positions.

    Attributes:
        dims: dimension -> (size,) ids along it.
        makes: the dimension that numbers the filters.
        grouped: whether the filters go in the groups of a grouped convolution.
    """

    dims: dict[int, ChannelIds]
    makes: int
    grouped: bool = False


class ChannelTable:
    """Which tensor's elements have which channel ids.

    Args:
        model: the one that runs.

    Attributes:
        weights: of convolutions, linear layers and embeddings, by name.
        vectors: all other parameters and buffers that meet channels: an id each element.
        counts: numbers of channels that layers without tensors keep, by the attribute's name.
        opaque: parameters that go into what can't be traced -> why.
        computed: layers whose weight is made of other tensors -> why they aren't pruned.
        first_convolutions: names of convolutions that read what no other one made.
    """

    def __init__(self, model: nn.Module) -> None:
        self.coupling = Coupling()
        self.weights: dict[str, Weight] = {}
        self.vectors: dict[str, ChannelIds] = {}
        self.counts: dict[str, ChannelIds] = {}
        self.opaque: dict[str, str] = {}
        self.computed: dict[str, str] = {}
        self.first_convolutions: set[str] = set()
        self._ids: Any = WeakIdKeyDictionary()
        self._names: dict[int, list[str]] = {}
        self._layers: set[str] = set()
        self._modules = dict(model.named_modules())
        for prefix, module in self._modules.items():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for key, tensor in own:
                name = f"{prefix}.{key}" if prefix else key
                self._names.setdefault(id(tensor), []).append(name)
            if isinstance(module, (*PRODUCERS, nn.Embedding)):
                self._layers.add(f"{prefix}.weight" if prefix else "weight")
                if (reason := why_computed(module)) is not None:
                    self.computed[prefix] = reason

    def __setitem__(self, tensor: Tensor, ids: ChannelIds | None) -> None:
        if ids is None:
            self._ids.pop(tensor, None)
        else:
            self._ids[tensor] = ids

    def __getitem__(self, tensor: Tensor) -> ChannelIds | None:
        """The ids of a tensor's elements, where it has any.

        Parameters and buffers get theirs when they are first asked for.
        """
        names = self._names.get(id(tensor))
        if names is None or not tensor.is_floating_point():
            ids: ChannelIds | None = self._ids.get(tensor)
            return ids
        if tensor.numel() <= 1:
            return None
        if names[0] not in self.vectors:
            self.vectors[names[0]] = self.coupling.new_ids(*tensor.shape)
        return self.vectors[names[0]]

    def layer_weight(self, weight: Tensor, dims: Sequence[int], makes: int) -> Weight | None:
        """The ids of a weight along some dimensions; None if it isn't one layer's own."""
        names = self._names.get(id(weight), [])
        if len(names) > 1:
            self.opaque.update((name, f"several layers share {names[0]}") for name in names)
        if len(names) != 1 or names[0] not in self._layers:
            return None
        known = self.weights.get(names[0])
        if known is None:
            ids = {dim: self.coupling.new_ids(weight.shape[dim]) for dim in dims}
            known = self.weights[names[0]] = Weight(ids, makes, grouped=len(dims) == 1)
        return known if list(known.dims) == list(dims) else None

    def why_unknown(self, module: str, weight: Tensor) -> str | None:
        """Why a weight that a module uses isn't its own; None where it is some module's."""
        if id(weight) in self._names:
            return None
        if isinstance(self._modules[module], PRODUCERS):
            self.computed.setdefault(module, "its forward computes the weight that it uses")
        return self.computed.get(module)

    def count(self, module: str, channels: ChannelIds) -> None:
        """Of a module without tensors: its own count of channels follows these."""
        attribute = count_of(self._modules[module])
        if attribute is not None:
            name = f"{module}.{attribute}" if module else attribute
            if name not in self.counts:
                self.counts[name] = self.coupling.new_ids(*channels.shape)
            self.coupling.tie(self.counts[name], channels)

    def layer_of(self, weight: Tensor) -> str | None:
        """The name of the layer whose weight it is, the first one's if several share it."""
        names = self._names.get(id(weight))
        return None if names is None else names[0].removesuffix("weight").removesuffix(".")

    def along(self, tensor: Tensor, dim: int) -> ChannelIds | None:
        """(size,) ids along a dimension; all that lies across it is tied to them."""
        ids = self[tensor]
        return None if ids is None else self.tie_across(ids, dim)

    def tie_across(self, ids: ChannelIds, dim: int) -> ChannelIds:
        """(size,) ids that stand for all that lies across a dimension."""
        size = ids.shape[dim]
        rows = thin(ids).movedim(dim, 0)
        rows = rows.expand(size, *rows.shape[1:]).flatten(1)
        first: ChannelIds = rows.amax(1)
        self.coupling.tie(first[:, None], rows)
        return first

    def meet(self, parts: Sequence[ChannelIds], shape: torch.Size, place: str) -> ChannelIds | None:
        """Of elements that meet, which are tied, what they make.

        Args:
            parts: they broadcast to ``shape``.
        """
        parts = [part.reshape([1] * (len(shape) - part.dim()) + list(part.shape)) for part in parts]
        result: ChannelIds | None = None
        for number, part in enumerate(parts):
            others = [*parts[:number], *parts[number + 1 :]]
            if any(
                part.shape[dim] == 1 < size and varies(other, dim)
                for dim, size in enumerate(shape)
                for other in others
            ):
                self.coupling.bind(part, f"{place} spreads it over other channels")
            elif result is None:
                result = part.expand(shape)
            else:
                self.coupling.tie(result, part)
                if not (thin(result) > 0).all():
                    result = torch.where(result > 0, result, part)
        return result

    def bind(self, tensors: Iterable[Tensor], reason: str) -> None:
        """All channels of these have to stay."""
        for tensor in tensors:
            names = self._names.get(id(tensor))
            if names is not None:
                self.opaque.setdefault(names[0], reason)
            elif (ids := self[tensor]) is not None:
                self.coupling.bind(ids, reason)

    def finish(self) -> None:
        """Nothing more is coming: bind what is used in several ways."""
        for name in self.weights.keys() & self.vectors.keys():
            self.opaque.setdefault(name, f"{name} is used in other ways as well")
        for name, reason in self.opaque.items():
            if name in self.vectors:
                self.coupling.bind(self.vectors[name], reason)
            if name in self.weights:
                for ids in self.weights[name].dims.values():
                    self.coupling.bind(ids, reason)
        for name in self.weights.keys() & self.vectors.keys():
            del self.vectors[name]
