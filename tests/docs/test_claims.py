"""What the docs say of messages and of NNCF's keys is held against the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from accaware.config.load import examine_config
from accaware.config.schema.catalog import file_names, properties, schema
from tests.docs.commands import ROOT
from tests.docs.conftest import DOCS

MESSAGES = re.findall(
    r"^### `(.*)`$", (DOCS / "guides" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE
)
ROWS = re.findall(
    r"^\| `(\w+)` \| (same|better|ignored|refused) \|",
    (DOCS / "start" / "from-nncf-2.md").read_text("utf-8"),
    re.MULTILINE,
)


def texts_of(tree: ast.Module) -> Iterator[str]:
    """All that a module's code may say: its strings, but for docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


@pytest.fixture(scope="module")
def said() -> str:
    """By all of the code."""
    files = sorted((ROOT / "accaware").rglob("*.py"))
    return "\n".join(
        text for file in files for text in texts_of(ast.parse(file.read_text("utf-8")))
    )


def test_a_message_that_is_explained_is_one(said: str) -> None:
    assert not [message for message in MESSAGES if message not in said]


def test_there_are_messages_and_rows() -> None:
    assert len(MESSAGES) > 30
    assert len(ROWS) > 60


def abouts(key: str) -> list[dict[str, Any]]:
    """What the schemas say of keys of this name, wherever they are."""
    return [about for name in file_names() for about in within(schema(name), key)]


def within(part: Any, key: str) -> Iterator[dict[str, Any]]:
    if not isinstance(part, dict):
        return
    if key in properties(part):
        yield properties(part)[key]
    for value in part.values():
        yield from within(value, key)


def fates(key: str) -> set[str]:
    """What a table may tell of a key, or of an algorithm."""
    found = set()
    for about in abouts(key):
        if "x-unsupported" in about:
            found.add("refused")
        elif "x-ignored" in about:
            found.add("ignored")
        else:
            found |= {"same", "better"}
    return found or fates_of_algorithm(key)


def fates_of_algorithm(name: str) -> set[str]:
    params = {"maximal_relative_accuracy_degradation": 1, "maximal_total_epochs": 1}
    config = {
        "accuracy_aware_training": {"mode": "early_exit", "params": params},
        "compression": {"algorithm": name},
    }
    told = " ".join(one.message for one in examine_config(config).diagnostics)
    return {"refused"} if "is not supported by this version" in told else set()


def test_a_key_of_nncf_has_the_fate_that_the_table_tells() -> None:
    assert not [(key, fate) for key, fate in ROWS if fate not in fates(key)]
