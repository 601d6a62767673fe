"""Numbers of channels that modules keep as attributes, ``num_heads`` say, and go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from accaware.pytorch.channels.layout import KeptMasks


@dataclass(frozen=True)
class ModuleNumber:
    """A whole number among a module's attributes.

    Attributes:
        name: the module's and the attribute's, as a tensor's.
        dense: what it is while the model is dense.
    """

    name: str
    module: nn.Module
    attribute: str
    dense: int

    def update(self, kept: KeptMasks) -> None:
        """Make it what is kept of the channels that it counts."""
        masks = kept.get(self.name)
        value = self.dense if masks is None else int(masks[0].count_nonzero())
        setattr(self.module, self.attribute, value)


def module_numbers(model: nn.Module, names: Iterable[str]) -> list[ModuleNumber]:
    """Those of these names that are whole numbers of the model's modules, which is dense."""
    modules = dict(model.named_modules())
    found = []
    for name in names:
        path, _, attribute = name.rpartition(".")
        value = vars(modules[path]).get(attribute) if path in modules else None
        if type(value) is int:
            found.append(ModuleNumber(name, modules[path], attribute, value))
    return found
