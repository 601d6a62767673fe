"""Faults of a config as lines."""

from __future__ import annotations

import pytest

from accaware.errors import Diagnostic
from accaware.report.diagnostics import diagnostic_line, diagnostics_text


@pytest.mark.parametrize(
    ("diagnostic", "line"),
    [
        (Diagnostic("is no number", "a.b", "c.json", 3, 7), "c.json:3:7: a.b: is no number"),
        (
            Diagnostic("has no effect", "a.b", "c.json", 3, 7, severity="warning"),
            "c.json:3:7: warning: a.b: has no effect",
        ),
        (Diagnostic("there is no such file", file="c.json"), "c.json: there is no such file"),
        (Diagnostic("is missing", "a"), "a: is missing"),
    ],
)
def test_a_line(diagnostic: Diagnostic, line: str) -> None:
    assert diagnostic_line(diagnostic) == line


def test_all_of_them() -> None:
    assert diagnostics_text([Diagnostic("one"), Diagnostic("two")]) == "one\ntwo"
