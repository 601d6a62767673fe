"""Which algorithms go together, judged by their names and the mode alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accaware.config.model.algorithms import LEVELLED
from accaware.config.text.fault import Fault
from accaware.config.text.messages import listed
from accaware.config.text.paths import KeyPath

_MODE: KeyPath = ("accuracy_aware_training", "mode")

Named = tuple[KeyPath, str]
"""An entry of `compression` and its algorithm."""


def mix_faults(mode: str | None, entries: Sequence[Named], *, all_known: bool) -> list[Fault]:
    """All faults of the mix.

    Args:
        mode: None where it isn't known.
        entries: those whose algorithm is known.
        all_known: whether there are no others, so that what is missing can be told.
    """
    faults = list(_twice(entries))
    if mode != "early_exit":
        faults += _pruning_with_sparsity(entries)
    if all_known and entries:
        faults += _nothing_to_search(mode, entries)
    return faults


def _twice(entries: Sequence[Named]) -> Iterator[Fault]:
    seen: set[str] = set()
    for path, name in entries:
        if name in seen:
            message = f"{name} is given twice; put all of it into one entry"
            yield Fault((*path, "algorithm"), message)
        seen.add(name)


def _pruning_with_sparsity(entries: Sequence[Named]) -> Iterator[Fault]:
    levelled = [(path, name) for path, name in entries if name in LEVELLED]
    for path, name in levelled[1:]:
        rival = levelled[0][1]
        if name == rival:
            continue
        message = (
            f"{name} can't go together with {rival}: both have a level that the search "
            f"would have to set; keep one, or use mode early_exit"
        )
        yield Fault((*path, "algorithm"), message)


def _nothing_to_search(mode: str | None, entries: Sequence[Named]) -> Iterator[Fault]:
    names = list(dict.fromkeys(name for _, name in entries))
    if names == ["knowledge_distillation"]:
        message = (
            "knowledge_distillation compresses nothing by itself; add filter_pruning, "
            "magnitude_sparsity or quantization beside it"
        )
        yield Fault((*entries[0][0], "algorithm"), message)
    elif mode == "adaptive_compression_level" and not set(names) & set(LEVELLED):
        have = "has" if len(names) == 1 else "have"
        message = (
            f"adaptive_compression_level searches the level of {listed(LEVELLED)}, and "
            f"{listed(names, 'and')} {have} none; use early_exit, or add one of the two"
        )
        yield Fault(_MODE, message)
