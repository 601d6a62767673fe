"""A config's data with comments is a text that reads as the same data."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accaware.config.text.document import Document
from accaware.starter.commented import Blank, commented

NAMES = st.text('aé"/ ', max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(-10, 10) | NAMES
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)
WORDS = st.text('ab */\\"{},', min_size=1)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.none() | WORDS)
def test_it_reads_as_the_same_data(data: dict[str, Any], said: str | None) -> None:
    text = commented(data, lambda path, value: said, head="a head\nof two lines")
    document = Document.of_text(text, "c.json")
    assert document.data == data
    assert document.diagnostics(()) == ()


def test_a_comment_stands_beside_what_is_short_and_above_what_is_long() -> None:
    first, second = "a" * 80, "b" * 30
    words = {"short": "of few words", "long": f"{first} {second}", "section": "of several keys"}
    data = {"short": 1, "long": [1, 2], "section": {"inner": True}, "last": "x"}
    text = commented(data, lambda path, value: words.get(str(path[-1])), head="head")
    assert text == (
        "{\n"
        "    // head\n"
        '    "short": 1, // of few words\n'
        f"    // {first}\n"
        f"    // {second}\n"
        '    "long": [1, 2],\n'
        "    // of several keys\n"
        '    "section": {\n'
        '        "inner": true\n'
        "    },\n"
        '    "last": "x"\n'
        "}\n"
    )


def test_a_blank_is_a_comment_until_it_is_filled_in() -> None:
    data = {"before": 1, "weights": Blank("model.pt")}
    text = commented(data, lambda path, value: None, head="")
    assert '    // "weights": "model.pt",\n' in text
    assert Document.of_text(text, "c.json").data == {"before": 1}
