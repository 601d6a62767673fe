"""The pictures in docs/architecture.md are what the imports are held to."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
LAYERS = [contract for contract in CONTRACTS if contract["type"] == "layers"]


def floors(text: str) -> list[set[str]]:
    """The rooms of each line, from the top; what follows two spaces or more is told of them."""
    return [set(re.split(r"\s{2,}", line)[0].split(" | ")) for line in text.strip().splitlines()]


def rooms_in(folder: Path) -> set[str]:
    own = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    files = {path.stem for path in folder.glob("*.py")}
    return own | files - {"__init__", "__main__"}


PICTURES = [floors(block) for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)]


def test_each_picture_is_a_contract() -> None:
    contracts = [
        [{name.split(".")[-1] for name in layer.split(" | ")} for layer in contract["layers"]]
        for contract in LAYERS
    ]
    assert len(PICTURES) == len(contracts) == 4
    for picture in PICTURES:
        assert picture in contracts


@pytest.mark.parametrize(
    ("number", "folder", "aside"),
    [
        # A part of the search that is public by a shorter name.
        (0, "accaware", {"events"}),
        (1, "accaware/api", set()),
        # A name that is kept for those who know it.
        (2, "accaware/pytorch", {"plugins"}),
        (3, "accaware/config", set()),
    ],
)
def test_no_room_is_missing(number: int, folder: str, aside: set[str]) -> None:
    drawn = set().union(*PICTURES[number])
    assert rooms_in(ROOT / folder) - aside == drawn
