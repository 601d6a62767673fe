"""The channel ids of layers' weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from accaware.pytorch.channels.tracing.coupling import ChannelIds, Coupling
from accaware.pytorch.channels.tracing.weights.parameters import Parameters
from accaware.pytorch.channels.tracing.weights.parts import WeightPart
from accaware.pytorch.model.layers import TRANSPOSED


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

    def by_element(self, shape: Sequence[int], *, inputs: bool) -> ChannelIds | None:
        """For each element the id of its filter, or of the input that it is multiplied with."""
        for dim, ids in self.dims.items():
            if (dim != self.makes) == inputs:
                sizes = [-1 if other == dim else 1 for other in range(len(shape))]
                expanded: ChannelIds = ids.reshape(sizes).expand(*shape)
                return expanded
        return None


class LayerWeights:
    """The weights of convolutions, linear layers, embeddings and others, and what is used as such.

    Attributes:
        by_name: a parameter -> its ids. Where a weight is computed it is what it is computed from
            that counts.
    """

    def __init__(self, parameters: Parameters, coupling: Coupling) -> None:
        self.by_name: dict[str, Weight] = {}
        self._parameters = parameters
        self._coupling = coupling
        self._used: set[str] = set()

    def producers(self, tensor: Tensor) -> Weight | None:
        """Of a convolution or a linear layer, whatever else it is used for; None for others."""
        (name, *_) = self._parameters.names(tensor) or ("",)
        module = self._parameters.producer(name)
        if module is None:
            return None
        grouped = getattr(module, "groups", 1) > 1
        makes = int(isinstance(module, TRANSPOSED) and not grouped)
        return self._known(name, tensor.shape, range(2 - grouped), makes, grouped=grouped)

    def use(self, name: str) -> None:
        """A layer multiplies by it, or by what is computed from it."""
        self._used.add(name)

    def of_part(
        self, part: WeightPart, dims: Sequence[int], makes: int | None, *, grouped: bool
    ) -> Mapping[int, ChannelIds] | None:
        """The ids of a part that a layer uses, along some of its dimensions.

        Args:
            makes: which of them numbers the filters; None where it only reads channels.

        Returns:
            None where each isn't a dimension of the parameter, or another layer uses it otherwise.
        """
        lines = part.along(dims)
        if lines is None:
            return None
        self.use(part.name)
        own = {dim: lines[dim][0] for dim in dims}
        filters = None if makes is None else own[makes]
        known = self._known(part.name, part.shape, sorted(own.values()), filters, grouped=grouped)
        if set(known.dims) != set(own.values()) or known.makes != filters:
            return None
        return {dim: known.dims[own[dim]][lines[dim][1]] for dim in dims}

    def _known(
        self,
        name: str,
        shape: Sequence[int],
        dims: Sequence[int],
        makes: int | None,
        *,
        grouped: bool,
    ) -> Weight:
        if name not in self.by_name:
            ids = {dim: self._coupling.new_ids(shape[dim]) for dim in dims}
            self.by_name[name] = Weight(ids, makes, grouped)
        return self.by_name[name]

    def settle(self) -> None:
        """Nothing more is coming: what was looked at, and no layer uses, has to stay."""
        for name in self.by_name.keys() - self._used:
            for ids in self.by_name.pop(name).dims.values():
                reason = f"the forward uses {name} in other ways than a layer"
                self._coupling.bind(ids, reason)
