"""The channel ids of a model's tensors, during one forward pass and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.coupling import ChannelIds, Coupling, thin, varies
from accaware.pytorch.channels.tracing.meetings import Meetings
from accaware.pytorch.channels.tracing.weights.layer_weights import LayerWeights
from accaware.pytorch.channels.tracing.weights.parameters import Parameters
from accaware.pytorch.channels.tracing.weights.parts import WeightParts
from accaware.pytorch.model.layers import PRODUCERS, count_of


class ChannelTable:
    """Which tensor's elements have which channel ids.

    An element of a convolution's or a linear layer's weight has two, that of its filter and that of
    the input that it is multiplied with, and so has one of what is computed from such a weight.

    Args:
        model: the one that runs.
        own_numbers: its modules' whole numbers, by their names.
        by_element: gives ids to what a call gives, element by element.

    Attributes:
        parameters: of the model.
        parts: which tensors are weights, whole or in parts.
        weights: of layers.
        vectors: all other parameters and buffers that meet channels: an id each element.
        counts: numbers of channels that layers without tensors keep, by the attribute's name.
        opaque: parameters that go into what can't be traced -> why.
        first_convolutions: names of convolutions that read what no other one made.
        meetings: what ties elements that meet.
        numbers: a module's own number by its name, and ids that have it along a dimension.
        cut_across: whether channels were read in an order that cuts across positions, so that
            which ones go together may depend on the size of the inputs.
    """

    def __init__(
        self,
        model: nn.Module,
        own_numbers: Mapping[str, int],
        by_element: Callable[[ChannelTable, Call], None],
    ) -> None:
        self.own_numbers = own_numbers
        self._by_element = by_element
        self.parameters = Parameters(model)
        self.coupling = Coupling()
        self.meetings = Meetings(self.coupling)
        self.parts = WeightParts(self.parameters)
        self.weights = LayerWeights(self.parameters, self.coupling)
        self.vectors: dict[str, ChannelIds] = {}
        self.counts: dict[str, ChannelIds] = {}
        self.opaque: dict[str, str] = {}
        self.first_convolutions: set[str] = set()
        self.cut_across = False
        self.numbers: list[tuple[str, ChannelIds, int]] = []
        self._ids: Any = WeakIdKeyDictionary()
        self._ids_of_inputs: Any = WeakIdKeyDictionary()
        self._by_inputs = False
        self._computed: Any = WeakIdKeyDictionary()  # of parameters alone -> whose weight is in it
        self._fixed: dict[str, str] = {}
        self._multiplied: list[Tensor] = []

    def __setitem__(self, tensor: Tensor, ids: ChannelIds | None) -> None:
        self.parts.pop(tensor)
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
        self._open(tensor)
        weight = self.weights.producers(tensor)
        if weight is not None:
            return weight.by_element(tensor.shape, inputs=self._by_inputs)
        known = self._ids_of_inputs if self._by_inputs else self._ids
        if self._by_inputs or tensor not in self.parameters or not tensor.is_floating_point():
            ids: ChannelIds | None = known.get(tensor)
            return ids
        return self.vector(tensor)

    def vector(self, parameter: Tensor) -> ChannelIds | None:
        """The ids of a parameter or a buffer that is no layer's weight."""
        if parameter.numel() <= 1:
            return None
        name = self.parameters.names(parameter)[0]
        if name not in self.vectors:
            self.vectors[name] = self.coupling.new_ids(*parameter.shape)
        return self.vectors[name]

    @contextmanager
    def by_inputs(self, *, really: bool = True) -> Iterator[None]:
        """Within it ids are those of the inputs that elements of weights are multiplied with."""
        before, self._by_inputs = self._by_inputs, really
        try:
            yield
        finally:
            self._by_inputs = before

    def _open(self, tensor: Tensor) -> None:
        """Follow a part of a weight as any other tensor from here on, as it is used so."""
        part = self.parts.pop(tensor)
        if part is None:
            return
        assert part.moved is not None
        given = part.moved.outputs[part.place]
        if given not in self._ids:
            with self.by_inputs(really=False):
                self._by_element(self, part.moved)
        for known in (self._ids, self._ids_of_inputs, self._computed):
            if given in known:
                known[tensor] = known[given]

    def computed_for(self, tensor: Tensor) -> str | None:
        """The layer whose weight a tensor is, or is computed from; None for all others."""
        name = self.parts.name(tensor)
        if name is None:
            layer: str | None = self._computed.get(tensor)
            return layer
        own = self.parameters.producer(name) is not None
        return self.parameters.owners[name] if own else None

    def layer_of(self, weight: Tensor) -> str | None:
        """The name of the layer whose weight it is, the first one's if several share it."""
        name = self.parts.name(weight)
        return self.computed_for(weight) if name is None else self.parameters.owners[name]

    def compute(self, tensor: Tensor, layer: str | None) -> None:
        """A tensor is made of parameters alone, a layer's weight perhaps among them."""
        self._computed[tensor] = layer

    def of_parameters(self, tensor: Tensor) -> bool:
        """Whether nothing that goes through the model is in it."""
        own = tensor in self.parameters or tensor in self.parts
        return own or tensor in self._computed or tensor.numel() == 1

    def fix_inputs(self, ids: Iterable[ChannelIds], layer: str, function: str) -> None:
        """What a layer reads has to stay, as a function computes its weight of all of it."""
        module = self.parameters.modules[layer]
        plain = next(kind for kind in PRODUCERS if isinstance(module, kind))
        reason = self.parameters.computed.get(
            layer,
            f"its forward computes the weight of all of them together ({function}): a plain "
            f"{plain.__name__} that holds the computed weight could lose some "
            "(accaware.pytorch.fold_computed_weights makes it one where it does no more)",
        )
        self._fixed.setdefault(layer, reason)
        for each in ids:
            self.coupling.bind(each, f"{layer} ({type(module).__name__}) reads them, and {reason}")

    @contextmanager
    def multiplied(self) -> Iterator[list[Tensor]]:
        """The tensors that are taken for layers' weights within it."""
        before, self._multiplied = self._multiplied, []
        try:
            yield self._multiplied
        finally:
            self._multiplied = before

    def layer_weight(
        self, weight: Tensor, dims: Sequence[int], makes: int | None, *, grouped: bool = False
    ) -> Mapping[int, ChannelIds] | None:
        """The ids of a weight, of a part of one, or of a computed one, along some dimensions.

        Args:
            makes: which of them numbers the filters; None where it only reads channels.

        Returns:
            None if it isn't one layer's own, or is used in another way elsewhere; without the
            dimension that reads, where what computes it mixes what is read.
        """
        names, part = self.parameters.names(weight), self.parts[weight]
        if len(names) > 1:
            self.opaque.update((name, f"several layers share {names[0]}") for name in names)
            return None
        if part is None:
            found = self._computed_weight(weight, dims, makes)
        else:
            found = self.weights.of_part(part, dims, makes, grouped=grouped)
        if found is not None:
            self._multiplied.append(weight)
        return found

    def _computed_weight(
        self, weight: Tensor, dims: Sequence[int], makes: int | None
    ) -> Mapping[int, ChannelIds] | None:
        """Of a layer's: along each dimension what doesn't vary along the others."""
        layer = self.computed_for(weight)
        if layer is None:
            return None
        kinds = [self[weight]]
        with self.by_inputs():
            kinds.append(self[weight])
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
        origin = self.parameters.weights[layer]
        assert origin is not None
        self.weights.use(origin)
        return {dim: ids.expand(weight.shape[dim]) for dim, ids in found.items()}

    def why_unknown(self, module: str, weight: Tensor) -> str | None:
        """Why a weight that a module uses isn't its own; None where it is some module's."""
        if weight in self.parameters:
            return None
        module = self.computed_for(weight) or module
        if module in self._fixed:
            return self._fixed[module]
        computed = self.parameters.computed
        if isinstance(self.parameters.modules[module], PRODUCERS):
            computed.setdefault(module, "its forward computes the weight that it uses")
        return computed.get(module)

    def count(self, module: str, channels: ChannelIds) -> None:
        """Of a module without tensors: its own count of channels follows these."""
        attribute = count_of(self.parameters.modules[module])
        if attribute is not None:
            name = f"{module}.{attribute}" if module else attribute
            self.coupling.tie(self.number(name, len(channels)), channels)

    def number(self, name: str, size: int) -> ChannelIds:
        """(size,) ids of what a module's number counts."""
        if name not in self.counts:
            self.counts[name] = self.coupling.new_ids(size)
        return self.counts[name]

    def along(self, tensor: Tensor, dim: int) -> ChannelIds | None:
        """(size,) ids along a dimension; all that lies across it is tied to them."""
        ids = self[tensor]
        return None if ids is None else self.meetings.across(ids, dim)

    def bind(self, tensors: Iterable[Tensor], reason: str) -> None:
        """All channels of these have to stay."""
        for tensor in tensors:
            layer = self.computed_for(tensor)
            why = reason if layer is None else self.parameters.computed.get(layer, reason)
            (name, *_) = self.parameters.names(tensor) or (self.parts.name(tensor),)
            if name is not None:
                self.opaque.setdefault(name, why)
                continue
            for ids in (self._ids.get(tensor), self._ids_of_inputs.get(tensor)):
                if ids is not None:
                    self.coupling.bind(ids, why)

    def finish(self) -> None:
        """Nothing more is coming: bind what is used in several ways, and tie what is left open."""
        self.meetings.settle()
        self._follow_numbers()
        self.weights.settle()
        weights = self.weights.by_name
        for name in weights.keys() & self.vectors.keys():
            self.opaque.setdefault(name, f"{name} is used in other ways as well")
        for name, reason in self.opaque.items():
            if name in self.vectors:
                self.coupling.bind(self.vectors[name], reason)
            if name in weights:
                for ids in weights[name].dims.values():
                    self.coupling.bind(ids, reason)
        for name in weights.keys() & self.vectors.keys():
            del self.vectors[name]

    def _follow_numbers(self) -> None:
        """A module's number of channels, or of rows of them, is a count of these."""
        roots = self.coupling.roots()
        for name, ids, dim in self.numbers:
            owners = roots[ids.long()].double()
            if varies(owners, dim):
                across = self.meetings.across(ids, dim)
                self.coupling.tie(self.number(name, ids.shape[dim]), across)
