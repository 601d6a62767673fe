"""Counting filters: the output channels of convolutions, and of linear layers that are pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from accaware.pytorch.channels.layout import ChannelGroup
from accaware.pytorch.model.layers import CONVOLUTIONS, TRANSPOSED, weight_origin


@dataclass(frozen=True)
class FilterCount:
    """Where filters are: weights by name, with the dimension that numbers their filters."""

    places: Mapping[str, int]

    @classmethod
    def of_groups(cls, groups: Iterable[ChannelGroup]) -> FilterCount:
        """The filters of layers that can lose some."""
        return cls(
            {slot.tensor: slot.dim for group in groups for slot in group.producing_weights()}
        )

    @classmethod
    def of_model(cls, model: nn.Module, groups: Iterable[ChannelGroup] = ()) -> FilterCount:
        """Those, and the filters of every convolution."""
        places = {
            f"{name}.{weight_origin(module) or 'weight'}": 1
            if isinstance(module, TRANSPOSED)
            else 0
            for name, module in model.named_modules()
            if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED))
        }
        return cls({**places, **cls.of_groups(groups).places})

    def count(self, shapes: Mapping[str, torch.Size]) -> int:
        """How many filters tensors of these shapes have."""
        return sum(self.by_tensor(shapes).values())

    def by_tensor(self, shapes: Mapping[str, torch.Size]) -> dict[str, int]:
        """The same of each tensor that numbers filters."""
        return {name: shapes[name][dim] for name, dim in self.places.items() if name in shapes}
