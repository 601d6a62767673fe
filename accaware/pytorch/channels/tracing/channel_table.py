"""The channel ids of a model's tensors, during one forward pass and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.coupling import (
    ChannelIds,
    Coupling,
    lines_apart,
    spread,
    thin,
    varies,
)
from accaware.pytorch.channels.tracing.weight_parts import COPIES, WeightPart
from accaware.pytorch.model.layers import (
    CONVOLUTIONS,
    EMBEDDINGS,
    RECURRENT,
    TRANSPOSED,
    count_of,
    why_computed,
)
from accaware.pytorch.model.registered import registration_of

PRODUCERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


@dataclass(frozen=True)
class Weight:
    """A layer's weight: the channel ids of its positions.

    Attributes:
        dims: dimension -> (size,) ids along it, for those along which channels lie.
        makes: the dimension that numbers the filters; None where it makes no channels.
        grouped: whether the filters go in the groups of a grouped convolution.
    """

    dims: dict[int, ChannelIds]
    makes: int | None
    grouped: bool = False


class ChannelTable:
    """Which tensor's elements have which channel ids.

    Args:
        model: the one that runs.
        own_numbers: its modules' whole numbers, by their names.
        by_element: gives ids to what a call gives, element by element.

    Attributes:
        weights: of convolutions, linear layers, embeddings and recurrent layers, and what is used
            as theirs, by name.
        vectors: all other parameters and buffers that meet channels: an id each element.
        counts: numbers of channels that layers without tensors keep, by the attribute's name.
        opaque: parameters that go into what can't be traced -> why.
        computed: layers whose weight is made of other tensors -> why they aren't pruned.
        first_convolutions: names of convolutions that read what no other one made.
        splits: the ids of tensors in which channels were laid out in rows.
        numbers: a module's own number by its name, and ids that have it along a dimension.
    """

    def __init__(
        self,
        model: nn.Module,
        own_numbers: Mapping[str, int],
        by_element: Callable[[ChannelTable, Call], None],
    ) -> None:
        self.own_numbers = own_numbers
        self._by_element = by_element
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
        self._ids: Any = WeakIdKeyDictionary()
        self._parts: Any = WeakIdKeyDictionary()
        self._names: dict[int, list[str]] = {}
        self._layers: set[str] = set()
        self._modules = dict(model.named_modules())
        for prefix, module in self._modules.items():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for key, tensor in own:
                name = f"{prefix}.{key}" if prefix else key
                self._names.setdefault(id(tensor), []).append(name)
            self._layers.update(f"{prefix}.{key}".lstrip(".") for key in _weights_of(module))
            torchs_own = isinstance(module, (*PRODUCERS, *EMBEDDINGS))
            if torchs_own and (reason := why_computed(module)) is not None:
                self.computed[prefix] = reason

    def __setitem__(self, tensor: Tensor, ids: ChannelIds | None) -> None:
        self._parts.pop(tensor, None)
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
            if ids is None and (part := self._parts.pop(tensor, None)) is not None:
                ids = self._ids_of(part)
                self[tensor] = ids
            return ids
        if tensor.numel() <= 1:
            return None
        if names[0] not in self.vectors:
            self.vectors[names[0]] = self.coupling.new_ids(*tensor.shape)
        return self.vectors[names[0]]

    def part(self, tensor: Tensor) -> WeightPart | None:
        """Where its elements lie in a parameter that may be a layer's weight."""
        (name, *_) = self._names.get(id(tensor), ("",))
        if name in self._layers:
            return WeightPart.whole(name, tensor.shape)
        part: WeightPart | None = self._parts.get(tensor)
        return part

    def move_part(self, call: Call) -> bool:
        """Note where the elements of a weight lie that a call moves.

        Returns:
            False for a call that does something else.
        """
        data, *indices = call.inputs
        part = self.part(data)
        moved = None if part is None else part.after(call)
        if moved is None:
            return False
        if call.name not in COPIES:
            self.bind(indices, f"{call.place} uses it as an index ({call.name})")
        for tensor, after in zip(call.outputs, moved, strict=True):
            if id(tensor) not in self._names and tensor is not data:
                self[tensor] = None
                self._parts[tensor] = after
        return True

    def _ids_of(self, part: WeightPart) -> ChannelIds | None:
        """Of a part that is no layer's weight: the ids of its elements, moved likewise."""
        assert part.moved is not None
        given = part.moved.outputs[part.place]
        if given not in self._ids:
            self._by_element(self, part.moved)
        ids: ChannelIds | None = self._ids.get(given)
        return ids

    def layer_weight(
        self, weight: Tensor, dims: Sequence[int], makes: int | None, *, grouped: bool = False
    ) -> Mapping[int, ChannelIds] | None:
        """The ids of a weight, or of a part of one, along some of its dimensions.

        Args:
            makes: which of them numbers the filters; None where it only reads channels.

        Returns:
            None if it isn't one layer's own, or is used in another way elsewhere.
        """
        part = self.part(weight)
        names = self._names.get(id(weight), [part.name] if part else [])
        if len(names) > 1:
            self.opaque.update((name, f"several layers share {names[0]}") for name in names)
        if len(names) != 1 or part is None or (lines := part.along(dims)) is None:
            return None
        own = {dim: lines[dim][0] for dim in dims}
        filters = None if makes is None else own[makes]
        known = self.weights.get(part.name)
        if known is None:
            shape = part.shape
            ids = {dim: self.coupling.new_ids(shape[dim]) for dim in sorted(own.values())}
            known = self.weights[part.name] = Weight(ids, filters, grouped)
        if set(known.dims) != set(own.values()) or known.makes != filters:
            return None
        return {dim: known.dims[own[dim]][lines[dim][1]] for dim in dims}

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
            self.coupling.tie(self.number(name, len(channels)), channels)

    def number(self, name: str, size: int) -> ChannelIds:
        """(size,) ids of what a module's number counts."""
        if name not in self.counts:
            self.counts[name] = self.coupling.new_ids(size)
        return self.counts[name]

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
        rows = rows.expand(size, *rows.shape[1:])[..., None].flatten(1)
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
        scattered: list[ChannelIds] = []
        for part in parts:
            others = [other for other in parts if other is not part]
            if not any(spread(part, other) for other in others):
                result = self._joined(result, part, shape)
            else:
                (rows if self.coupling.is_united(part) else scattered).append(part)
        for part in scattered:
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
                spread(rows[second], rows[first]),
                spread(rows[first], rows[second]),
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
            if names is not None:
                self.opaque.setdefault(names[0], reason)
            elif (part := self.part(tensor)) is not None:
                self.opaque.setdefault(part.name, reason)
            elif (ids := self[tensor]) is not None:
                self.coupling.bind(ids, reason)

    def finish(self) -> None:
        """Nothing more is coming: bind what is used in several ways, and tie what is left open."""
        self._settle_splits()
        self._settle_spreads()
        self._follow_numbers()
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
                apart = [lines_apart(owners, dim) for dim in dims]
                best = -1 if apart[-1] > 1 else apart.index(max(apart))
                self.tie_across(ids, dims[best])

    def _settle_spreads(self) -> None:
        """What meets whole rows of channels goes with them; what meets several has to stay."""
        roots = self.coupling.roots()
        for part, whole, reason in self._spreads:
            owners = roots[whole.long()].double()
            if any(varies(owners, dim) for dim in spread(part, whole)):
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


def _weights_of(module: nn.Module) -> list[str]:
    """Names of parameters that are weights of a layer of torch's, or may be of a user's."""
    if (registration := registration_of(module)) is not None:
        return sorted(registration.tensors)
    if type(module).__module__.startswith("torch.") and not isinstance(module, RECURRENT):
        return ["weight"] if isinstance(module, (*PRODUCERS, *EMBEDDINGS)) else []
    return [key for key, each in module._parameters.items() if each is not None and each.dim() > 1]
