"""What a run can be made of, which of it goes together, and the rows that cover all pairs.

A pair of values is covered where a row has both. A pair that no row can have is named in
``APART`` with its reason; everything else is in some row, which covertable chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from covertable import make

Row = dict[str, str]
"""A value for each factor."""

Pair = frozenset[tuple[str, str]]
"""Two factors, each with its value."""

# Where any value of a factor does, a row has the first, so that is the one that takes least time.
FACTORS: dict[str, tuple[str, ...]] = {
    "mode": ("adaptive", "early_exit"),
    "mix": (
        "pruning",
        "sparsity",
        "2:4 sparsity",
        "pruning+sparsity",
        "pruning+quantization",
        "sparsity+quantization",
        "quantization",
    ),
    "precision": ("full", "mixed"),
    "teacher": ("none", "untouched"),
    "norms": ("as they are", "adapted"),
    "reconstruction": ("none", "least squares"),
    "averaging": ("none", "polynomial"),
    "confirmation": ("none", "kept back"),
    "schedule": ("per epoch", "per step"),
    "format": ("state-dict", "torch-export", "onnx", "openvino"),
    "exported": ("by the run", "by the command"),
    "workers": ("0", "1"),
    "course": ("undisturbed", "interrupted"),
    "form": ("datasets", "own training", "class", "torchvision", "script"),
    "processes": ("1", "2"),
}


@dataclass(frozen=True)
class Apart:
    """Values of two factors that don't go together.

    Attributes:
        left, right: a factor and those of its values; no one of these goes with any of those.
        reason: why there is no such row.
        refusal: what the user is told who asks for it, part of it; None where there is no way
            of asking for it.
    """

    left: tuple[str, tuple[str, ...]]
    right: tuple[str, tuple[str, ...]]
    reason: str
    refusal: str | None = None

    @property
    def pairs(self) -> set[Pair]:
        (first, theirs), (second, its) = self.left, self.right
        return {frozenset({(first, one), (second, other)}) for one, other in product(theirs, its)}

    @property
    def condition(self) -> dict[str, object]:
        """For covertable: a row isn't of both sides."""
        sides = [
            {"operator": "not", "condition": {"operator": "in", "left": name, "values": [*values]}}
            for name, values in (self.left, self.right)
        ]
        return {"operator": "or", "conditions": sides}


APART = (
    Apart(
        ("mode", ("adaptive",)),
        ("mix", ("pruning+sparsity",)),
        "the search sets one level, and both have one",
        "both have a level that the search would have to set",
    ),
    Apart(
        ("mode", ("adaptive",)),
        ("mix", ("quantization",)),
        "quantization has no level to search",
        "adaptive_compression_level searches the level of",
    ),
    Apart(
        ("schedule", ("per step",)),
        ("mix", ("pruning", "pruning+quantization")),
        "a level that rises at every step is magnitude sparsity's alone",
        "update_per_optimizer_step",
    ),
    Apart(
        ("mode", ("adaptive",)),
        ("mix", ("2:4 sparsity",)),
        "a pattern fixes the rate",
        '"2:4" fixes the rate at 0.5',
    ),
    Apart(
        ("schedule", ("per step",)),
        ("mix", ("2:4 sparsity",)),
        "its rate is there from the first step on; a warning says that the key is ignored",
    ),
    Apart(
        ("schedule", ("per step",)),
        ("mix", ("quantization",)),
        "quantization has no level, so none that rises",
        "compression[0].params",
    ),
    Apart(
        ("reconstruction", ("least squares",)),
        ("mix", ("sparsity", "2:4 sparsity", "sparsity+quantization", "quantization")),
        "only where filters are removed is there anything to be reconstructed without them",
        "compression[0].params",
    ),
    Apart(
        ("form", ("datasets",)),
        ("precision", ("mixed",)),
        "the training that a plugin gets where it brings none is in full precision",
        "can't read it",
    ),
    Apart(
        ("form", ("script",)),
        ("course", ("interrupted",)),
        "a loop of a script's keeps no journal to go on from; the command does",
    ),
    Apart(
        ("form", ("script",)),
        ("exported", ("by the run",)),
        "a script exports by itself; its loop writes no files",
    ),
)


def pairs_of(row: Row) -> set[Pair]:
    """All that a row covers."""
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def allowed_pairs() -> set[Pair]:
    """All that rows have to cover."""
    apart = {pair for entry in APART for pair in entry.pairs}
    return set(_all_pairs()) - apart


@cache
def rows() -> Sequence[Row]:
    """About as few as there can be; the same ones each time."""
    found = make(dict(FACTORS), constraints=[entry.condition for entry in APART], salt="75")
    return [{factor: row[factor] for factor in FACTORS} for row in found]


def name_of(row: Row) -> str:
    """A row's values in one line."""
    return ", ".join(f"{factor} {value}" for factor, value in row.items())


def _all_pairs() -> Iterator[Pair]:
    for (first, theirs), (second, its) in combinations(FACTORS.items(), 2):
        for one, other in product(theirs, its):
            yield frozenset({(first, one), (second, other)})
