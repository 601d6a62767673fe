"""Numbers of channels that modules keep as attributes, ``num_heads`` say, and go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from accaware.pytorch.channels.layout import KeptMasks


@dataclass(frozen=True)
class ModuleNumber:
    """A whole number among a module's attributes.

    Attributes:
        name: the module's and the attribute's, as a tensor's.
        dense: what it is while the model is dense.
        place: of the number, where the attribute is a list or a tuple of numbers.
    """

    name: str
    module: nn.Module
    attribute: str
    dense: int
    place: int | None = None

    def update(self, kept: KeptMasks) -> None:
        """Make it what is kept of the channels that it counts."""
        masks = kept.get(self.name)
        value = self.dense if masks is None else int(masks[0].count_nonzero())
        if self.place is not None:
            several = getattr(self.module, self.attribute)
            value = type(several)(
                value if place == self.place else each for place, each in enumerate(several)
            )
        setattr(self.module, self.attribute, value)


def numbers_of(module: nn.Module) -> Iterator[tuple[str, int | None, int]]:
    """The whole numbers that a module holds, by themselves or in a list or a tuple of such.

    Returns:
        The attribute, the place in it where it is of several, the number.
    """
    for attribute, value in vars(module).items():
        if type(value) is int:
            yield attribute, None, value
        elif type(value) in (list, tuple) and all(type(each) is int for each in value):
            yield from ((attribute, place, each) for place, each in enumerate(value))


def name_of(prefix: str, attribute: str, place: int | None) -> str:
    """The name of a module's number."""
    name = f"{prefix}.{attribute}" if prefix else attribute
    return name if place is None else f"{name}[{place}]"


def module_numbers(model: nn.Module, names: Iterable[str]) -> list[ModuleNumber]:
    """Those of these names that are whole numbers of the model's modules, which is dense."""
    wanted = frozenset(names)
    return [
        ModuleNumber(name, module, attribute, value, place)
        for prefix, module in model.named_modules()
        for attribute, place, value in numbers_of(module)
        if (name := name_of(prefix, attribute, place)) in wanted
    ]
