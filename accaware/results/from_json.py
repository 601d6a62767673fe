"""JSON data back to the values that it was made of."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


def structured(of: type[T], content: Any) -> T:
    """An ``of``, a dataclass, from data that ``strict_json`` made of one.

    Keys that it has no fields for are passed over: a newer accaware may write more.

    Raises:
        KeyError, TypeError, ValueError: the data isn't of one.
    """
    return _converter().structure(content, of)


@cache
def _converter() -> Converter:
    from cattrs import Converter  # takes a moment; few commands read anything back

    converter = Converter(detailed_validation=False)
    for kind in (bool, float, int, str):
        converter.register_structure_hook(kind, _as_it_is)
    return converter


def _as_it_is(value: Any, of: type) -> Any:
    """A value as JSON has it: a float may be null, which NaN is written as.

    Enums come here, too: ours are strings.
    """
    return of(value) if issubclass(of, Enum) else value
