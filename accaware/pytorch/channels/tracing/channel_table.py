"""The channel ids of a model's tensors, during one forward pass and after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.channels.tracing.coupling import ChannelIds, Coupling, thin, varies
from accaware.pytorch.channels.weight_norm import weight_norms
from accaware.pytorch.model.layers import (
    CONVOLUTIONS,
    TRANSPOSED,
    count_of,
    weight_origin,
    weight_shape,
    why_computed,
)

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
        own_numbers: its modules' whole numbers, by their names.

    Attributes:
        weights: of convolutions, linear layers and embeddings, and what is used as theirs, by name.
            Where a weight is computed it is what it is computed from that counts.
        filters: layer -> the name of its weight, or of what that is computed from.
        vectors: all other parameters and buffers that meet channels: an id each element.
        counts: numbers of channels that layers without tensors keep, by the attribute's name.
        opaque: parameters that go into what can't be traced -> why.
        computed: layers whose weight is made of other tensors -> why they aren't pruned, where they
            aren't.
        first_convolutions: names of convolutions that read what no other one made.
        splits: the ids of tensors in which channels were laid out in rows.
        numbers: a module's own number by its name, and ids that have it along a dimension.
    """

    def __init__(self, model: nn.Module, own_numbers: Mapping[str, int]) -> None:
        self.own_numbers = own_numbers
        self.coupling = Coupling()
        self.weights: dict[str, Weight] = {}
        self.vectors: dict[str, ChannelIds] = {}
        self.counts: dict[str, ChannelIds] = {}
        self.opaque: dict[str, str] = {}
        self.computed: dict[str, str] = {}
        self.first_convolutions: set[str] = set()
        self.splits: list[ChannelIds] = []
        self.numbers: list[tuple[str, ChannelIds, int]] = []
        self._spreads: list[tuple[ChannelIds, ChannelIds, str]] = []
        self.filters: dict[str, str] = {}
        self._ids: Any = WeakIdKeyDictionary()
        self._ids_of_inputs: Any = WeakIdKeyDictionary()
        self._by_inputs = False
        self._computed: Any = WeakIdKeyDictionary()  # of parameters alone -> whose weight is in it
        self._fixed: dict[str, str] = {}
        self._names: dict[int, list[str]] = {}
        self._layers: dict[str, str] = {}
        self._used: set[str] = set()
        self._weight_norms = {norm.direction: norm.scale for norm in weight_norms(model)}
        self._modules = dict(model.named_modules())
        for prefix, module in self._modules.items():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for key, tensor in own:
                name = f"{prefix}.{key}" if prefix else key
                self._names.setdefault(id(tensor), []).append(name)
            if not _has_weight(module):
                continue
            torchs_own = isinstance(module, (*PRODUCERS, nn.Embedding))
            if torchs_own and (reason := why_computed(module)) is not None:
                self.computed[prefix] = reason
            if (origin := weight_origin(module)) is not None:
                name = f"{prefix}.{origin}" if prefix else origin
                self._layers[name] = prefix
                self.filters[prefix] = name

    def __setitem__(self, tensor: Tensor, ids: ChannelIds | None) -> None:
        known = self._ids_of_inputs if self._by_inputs else self._ids
        if ids is None:
            known.pop(tensor, None)
        else:
            known[tensor] = ids

    def __getitem__(self, tensor: Tensor) -> ChannelIds | None:
        """The ids of a tensor's elements, where it has any.

        Parameters and buffers get theirs when they are first asked for. A layer's weight has those
        of its filters, or within ``by_inputs`` those of what it reads.
        """
        names = self._names.get(id(tensor))
        weight = self._own_weight(tensor)
        if self._by_inputs or weight is not None:
            return self._ids_of_weight(tensor, weight)
        if names is None or not tensor.is_floating_point():
            ids: ChannelIds | None = self._ids.get(tensor)
            return ids
        return self.vector(tensor)

    def vector(self, parameter: Tensor) -> ChannelIds | None:
        """The ids of a parameter or a buffer that is no layer's weight."""
        if parameter.numel() <= 1:
            return None
        name = self._names[id(parameter)][0]
        if name not in self.vectors:
            self.vectors[name] = self.coupling.new_ids(*parameter.shape)
        return self.vectors[name]

    @contextmanager
    def by_inputs(self) -> Iterator[None]:
        """Within it ids are those of the inputs that elements of weights are multiplied with."""
        self._by_inputs = True
        try:
            yield
        finally:
            self._by_inputs = False

    def _own_weight(self, tensor: Tensor) -> Weight | None:
        """Of a convolution or a linear layer, whatever else it is used for; None for others."""
        names = self._names.get(id(tensor), [])
        layer = self._layers.get(names[0]) if len(names) == 1 else None
        if layer is None:
            return None
        module = self._modules[layer]
        if not isinstance(module, PRODUCERS) or tensor.shape != weight_shape(module):
            return None
        if names[0] not in self.weights:
            grouped = getattr(module, "groups", 1) > 1
            makes = int(isinstance(module, TRANSPOSED) and not grouped)
            ids = {dim: self.coupling.new_ids(tensor.shape[dim]) for dim in range(2 - grouped)}
            self.weights[names[0]] = Weight(ids, makes, grouped)
        return self.weights[names[0]]

    def _ids_of_weight(self, tensor: Tensor, weight: Weight | None) -> ChannelIds | None:
        if weight is None:
            ids: ChannelIds | None = self._ids_of_inputs.get(tensor)
            return ids
        dim = 1 - weight.makes if self._by_inputs else weight.makes
        if dim not in weight.dims:
            return None
        sizes = [-1 if other == dim else 1 for other in range(tensor.dim())]
        expanded: ChannelIds = weight.dims[dim].reshape(sizes).expand(tensor.shape)
        return expanded

    def computed_for(self, tensor: Tensor) -> str | None:
        """The layer whose weight a tensor is, or is computed from; None for all others."""
        if self._own_weight(tensor) is not None:
            return self._layers[self._names[id(tensor)][0]]
        layer: str | None = self._computed.get(tensor)
        return layer

    def compute(self, tensor: Tensor, layer: str | None) -> None:
        """A tensor is made of parameters alone, a layer's weight perhaps among them."""
        self._computed[tensor] = layer

    def of_parameters(self, tensor: Tensor) -> bool:
        """Whether nothing that goes through the model is in it."""
        return id(tensor) in self._names or tensor in self._computed or tensor.numel() == 1

    def is_weight_norm(self, direction: Tensor, scale: Tensor) -> bool:
        """Whether a layer's weight norm has these two parameters."""
        mine, theirs = (self._names.get(id(each), [""]) for each in (direction, scale))
        return self._weight_norms.get(mine[0]) == theirs[0]

    def fix_inputs(self, ids: Iterable[ChannelIds], layer: str, function: str) -> None:
        """What a layer reads has to stay, as a function computes its weight of all of it."""
        module = self._modules[layer]
        plain = next(kind for kind in PRODUCERS if isinstance(module, kind))
        reason = self.computed.get(
            layer,
            f"its forward computes the weight of all of them together ({function}): a plain "
            f"{plain.__name__} that holds the computed weight could lose some",
        )
        self._fixed.setdefault(layer, reason)
        for each in ids:
            self.coupling.bind(each, f"{layer} ({type(module).__name__}) reads them, and {reason}")

    def computed_weight(self, weight: Tensor, dims: Sequence[int], makes: int) -> Weight | None:
        """The ids of a weight that was computed, along some dimensions.

        Returns:
            None where it isn't computed of one layer's, or something in it mixes the filters; a
            weight without the dimension that reads, where something mixes what is read.
        """
        layer = self.computed_for(weight)
        if layer is None:
            return None
        kinds = [self[weight], self._ids_of_inputs.get(weight)]
        with self.by_inputs():
            kinds[1] = self[weight]
        found = {
            dim: thin(ids).amax([other for other in range(ids.dim()) if other != dim])
            for dim in dims
            for ids in kinds
            if ids is not None
            and (varies(ids, dim) or ids.shape[dim] == 1)
            and not any(varies(ids, other) for other in range(ids.dim()) if other != dim)
        }
        if makes not in found:
            return None
        self._used.add(self.filters[layer])
        return Weight({dim: ids.expand(weight.shape[dim]) for dim, ids in found.items()}, makes)

    def layer_weight(self, weight: Tensor, dims: Sequence[int], makes: int) -> Weight | None:
        """The ids of a weight along some dimensions; None if it isn't one layer's own."""
        names = self._names.get(id(weight), [])
        if len(names) > 1:
            self.opaque.update((name, f"several layers share {names[0]}") for name in names)
        if len(names) != 1 or names[0] not in self._layers:
            return None
        self._used.add(names[0])
        known = self.weights.get(names[0])
        if known is None:
            ids = {dim: self.coupling.new_ids(weight.shape[dim]) for dim in dims}
            known = self.weights[names[0]] = Weight(ids, makes, grouped=len(dims) == 1)
        return known if list(known.dims) == list(dims) else None

    def why_unknown(self, module: str, weight: Tensor) -> str | None:
        """Why a weight that a module uses isn't its own; None where it is some module's."""
        if id(weight) in self._names:
            return None
        module = self.computed_for(weight) or module
        if module in self._fixed:
            return self._fixed[module]
        if isinstance(self._modules[module], PRODUCERS):
            self.computed.setdefault(module, "its forward computes the weight that it uses")
        return self.computed.get(module)

    def count(self, module: str, channels: ChannelIds) -> None:
        """Of a module without tensors: its own count of channels follows these."""
        attribute = count_of(self._modules[module])
        if attribute is not None:
            name = f"{module}.{attribute}" if module else attribute
            self.coupling.tie(self.number(name, len(channels)), channels)

    def number(self, name: str, size: int) -> ChannelIds:
        """(size,) ids of what a module's number counts."""
        if name not in self.counts:
            self.counts[name] = self.coupling.new_ids(size)
        return self.counts[name]

    def layer_of(self, weight: Tensor) -> str | None:
        """The name of the layer whose weight it is, the first one's if several share it."""
        names = self._names.get(id(weight))
        if names is None:
            return self.computed_for(weight)
        return self._layers.get(names[0], names[0].removesuffix("weight").removesuffix("."))

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
        parts = self._unite_rows(parts, place)
        result: ChannelIds | None = None
        rows: list[ChannelIds] = []
        spread: list[ChannelIds] = []
        for part in parts:
            others = [other for other in parts if other is not part]
            if not any(_spread(part, other) for other in others):
                result = self._joined(result, part, shape)
            else:
                (rows if self.coupling.is_united(part) else spread).append(part)
        for part in spread:
            reason = f"{place} spreads it over other channels"
            if result is None or not any(varies(part, dim) for dim in range(part.dim())):
                self.coupling.bind(part, reason)
            else:
                self._spreads.append((thin(part), thin(result), reason))
        for part in rows:
            # All that a head is spread over goes with it.
            result = self._joined(result, part, shape)
        return result

    def _unite_rows(self, parts: Sequence[ChannelIds], place: str) -> list[ChannelIds]:
        """The parts; where within rows each channel of one meets each of another, as rows."""
        rows = [*parts]
        for first, second in combinations(range(len(rows)), 2):
            of_first, of_second = (
                _spread(rows[second], rows[first]),
                _spread(rows[first], rows[second]),
            )
            if len(of_first) == len(of_second) == 1:
                reason = f"{place} spreads it over other channels"
                mine = self.coupling.unite(rows[first], of_first[0], reason)
                theirs = self.coupling.unite(rows[second], of_second[0], reason)
                if mine is not None and theirs is not None:
                    rows[first], rows[second] = mine, theirs
        return rows

    def _joined(self, result: ChannelIds | None, part: ChannelIds, shape: torch.Size) -> ChannelIds:
        """What is made of two parts that go together; a head's ids, where one is of heads."""
        if result is None:
            return part.expand(shape)
        self.coupling.tie(result, part)
        if self.coupling.is_united(part) and not self.coupling.is_united(result):
            result, part = part.expand(shape), result
        if not (thin(result) > 0).all():
            result = torch.where(result > 0, result, part)
        return result

    def bind(self, tensors: Iterable[Tensor], reason: str) -> None:
        """All channels of these have to stay."""
        for tensor in tensors:
            names = self._names.get(id(tensor))
            layer = self.computed_for(tensor)
            if layer is not None:
                reason = self.computed.get(layer, reason)
            if names is not None:
                self.opaque.setdefault(names[0], reason)
            elif (ids := self[tensor]) is not None:
                self.coupling.bind(ids, reason)

    def finish(self) -> None:
        """Nothing more is coming: bind what is used in several ways, and tie what is left open."""
        self._settle_splits()
        self._settle_spreads()
        self._follow_numbers()
        for name in self.weights.keys() - self._used:  # looked at, and no layer's weight
            for ids in self.weights.pop(name).dims.values():
                self.coupling.bind(ids, f"the forward uses {name} in other ways than a layer")
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

    def _settle_splits(self) -> None:
        """Of channels in rows, all rows lose the same places; or whole rows go, as heads do."""
        roots = self.coupling.roots()
        for ids in self.splits:
            owners = roots[ids.long()].double()
            dims = [dim for dim in range(owners.dim()) if varies(owners, dim)]
            if len(dims) > 1:
                apart = [_lines_apart(owners, dim) for dim in dims]
                best = -1 if apart[-1] > 1 else apart.index(max(apart))
                self.tie_across(ids, dims[best])

    def _settle_spreads(self) -> None:
        """What meets whole rows of channels goes with them; what meets several has to stay."""
        roots = self.coupling.roots()
        for part, whole, reason in self._spreads:
            owners = roots[whole.long()].double()
            if any(varies(owners, dim) for dim in _spread(part, whole)):
                self.coupling.bind(part, reason)
            else:
                self.coupling.tie(part, whole)

    def _follow_numbers(self) -> None:
        """A module's number of channels, or of rows of them, is a count of these."""
        roots = self.coupling.roots()
        for name, ids, dim in self.numbers:
            owners = roots[ids.long()].double()
            if not varies(owners, dim):
                continue
            self.coupling.tie(self.number(name, ids.shape[dim]), self.tie_across(ids, dim))


def _has_weight(module: nn.Module) -> bool:
    """Whether it is a layer of torch's that channels are followed through, or could be a user's."""
    if isinstance(module, (*PRODUCERS, nn.Embedding)):
        return True
    weight = module._parameters.get("weight")
    return (
        weight is not None and weight.dim() > 1 and not type(module).__module__.startswith("torch.")
    )


def _spread(part: ChannelIds, other: ChannelIds) -> list[int]:
    """The dimensions along which a part is one, and meets different channels of another."""
    return [
        dim
        for dim, size in enumerate(part.shape)
        if size == 1 < other.shape[dim] and varies(other, dim)
    ]


def _lines_apart(owners: Tensor, dim: int) -> int:
    """How many lines across a dimension there are that have no channel in common, by any chain."""
    lines = owners.movedim(dim, 0).flatten(1)
    labels = torch.arange(len(lines))
    _, places = torch.unique(lines, return_inverse=True)
    while True:
        of_channels = torch.full((int(places.max()) + 1,), len(lines)).scatter_reduce(
            0, places.flatten(), labels[:, None].expand_as(places).flatten(), "amin"
        )
        lower = of_channels[places].amin(1)
        if torch.equal(lower, labels):
            return len(torch.unique(labels))
        labels = lower
