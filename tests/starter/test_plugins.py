"""Plugins with blanks: whole modules, with what was named."""

from __future__ import annotations

import ast

import pytest

from accaware.starter.plugins import MARK, lightning


@pytest.mark.parametrize("data", [None, "Digits"])
def test_a_lightning_module_has_its_data_beside_it_or_in_it(data: str | None) -> None:
    text = lightning("nets.py", "Net", data, "f1")
    classes = {
        node.name: [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }
    loaders = ["train_dataloader", "val_dataloader"]
    assert list(classes) == (["Net"] if data is None else ["Net", data])
    assert classes[data or "Net"][-2:] == loaders
    assert 'self.log("f1", ' in text
    assert text.count(f"# {MARK}:") == 5
    assert "$" not in text
