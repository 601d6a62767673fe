"""What the schemas' own annotations say about a config: no key is without effect in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Any

from accaware.config.model.scopes import pattern_fault
from accaware.config.schema.applicability import (
    Data,
    fold_case,
    has_effect,
    siblings,
    value_schema,
    ways,
)
from accaware.config.schema.catalog import Schema, schema
from accaware.config.text.fault import Fault, note, warning
from accaware.config.text.messages import listed, shown
from accaware.config.text.paths import KeyPath


def notices(
    name: str,
    data: Any,
    path: KeyPath,
    wrong: Set[str | int] = frozenset(),
    assumed: Set[KeyPath] = frozenset(),
) -> Iterator[Fault]:
    """Ignored, unsupported, renamed and doubled keys of ``data``, which stands at ``path``.

    Args:
        wrong: keys by whose values no other key's effect can be judged.
        assumed: what in ``data`` a preset stands for.
    """
    for fault, used_with in _walk(schema(name), data, path, {}, assumed):
        if wrong.isdisjoint(used_with):
            yield fault


_Judged = tuple[Fault, Iterable[str]]
"""A fault, and the keys by whose values it was found."""


def _walk(
    of: Schema, data: Any, path: KeyPath, above: Data, assumed: Set[KeyPath]
) -> Iterator[_Judged]:
    """``above`` has the values of the objects around ``data``, by key."""
    if isinstance(data, list):
        for index, entry in enumerate(data):
            yield from _walk(of.get("items", {}), entry, (*path, index), above, assumed)
    if not isinstance(data, dict):
        return
    around = siblings(of, data, above)
    for key, value in data.items():
        about = value_schema(of, key)
        if not about:
            continue
        yield from ((fault, ()) for fault in _about(key, value, about, data, path))
        if not has_effect(about, around):
            other, why = _why_without_effect(about, around)
            by_preset = " (by the preset)" if (*path, other) in assumed else ""
            message = f"is ignored: {why}{by_preset}"
            yield warning((*path, key), message), {other for way in ways(about) for other in way}
        if "x-unsupported" not in about:
            yield from _walk(about, value, (*path, key), around, assumed)


def _about(key: str, value: Any, about: Schema, data: Data, path: KeyPath) -> Iterator[Fault]:
    place = (*path, key)
    ignored = about.get("x-ignored")
    if ignored is not None and ignored.get("when", value) == value:
        yield warning(place, f"is ignored: {ignored['why']}")
    if "x-unsupported" in about and value != {}:  # an empty object asks for nothing
        refusal = about["x-unsupported"]
        message = f"{refusal['what']} is not supported by this version; {refusal['instead']}"
        yield Fault(place, message, at_key=True)
    yield from _rivals(key, value, about, data, place)
    if about.get("x-scopes"):
        yield from _patterns(value, place)
    if about.get("x-fold-case"):
        folded = fold_case(about, value)
        if folded != value:
            yield note(place, f"{shown(value)} is read as {shown(folded)}", folded, at_key=False)


def _why_without_effect(about: Schema, around: Data) -> tuple[str, str]:
    """The key that is nearest to letting another count, and why it doesn't."""
    unmet = [
        {other: values for other, values in way.items() if around.get(other) not in values}
        for way in ways(about)
    ]
    other, values = next(iter(min(unmet, key=len).items()))
    if values == [None]:
        return other, f"it counts without {other}"
    what = f"{other} is {listed(map(_bare, values))}, not {_bare(around.get(other))}"
    return other, f"it counts where {what}"


def _rivals(key: str, value: Any, about: Schema, data: Data, place: KeyPath) -> Iterator[Fault]:
    """Keys of which only one may be given."""
    real, rival = about.get("x-alias-of"), about.get("x-excludes")
    if real in data:
        both = f"{key} ({shown(value)}) and {real} ({shown(data[real])}) mean the same; keep one"
        yield Fault(place, both, at_key=True)
    elif real is not None:
        yield note(place, f"is read as {real}", real)
    if rival in data:
        both = (
            f"{key} ({shown(value)}) and {rival} ({shown(data[rival])}) exclude each other; "
            "keep one"
        )
        yield Fault(place, both, at_key=True)


def _patterns(value: Any, place: KeyPath) -> Iterator[Fault]:
    """Scopes that can't be read, in a string, a list, or an object's keys."""
    found: list[tuple[KeyPath, Any]] = [(place, value)]
    if isinstance(value, list):
        found = [((*place, index), entry) for index, entry in enumerate(value)]
    elif isinstance(value, dict):
        found = [((*place, key), key) for key in value]
    for path, pattern in found:
        message = pattern_fault(pattern) if isinstance(pattern, str) else None
        if message is not None:
            yield Fault(path, f"{shown(pattern)} {message}", at_key=isinstance(value, dict))


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)
