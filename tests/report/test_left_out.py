"""The layers that are left out of the compression, and why."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from accaware.report.console import console_on
from accaware.report.tables import left_out_table

EVENTS = Path("runs/x-1") / ("long" * 40) / "events.jsonl"


def _shown(count: int) -> list[str]:
    stream = io.StringIO()
    layers = [(f"layer[{number}].conv", f"reason [red]{number}") for number in range(count)]
    console_on(stream).print(left_out_table(layers, EVENTS), crop=False)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(("count", "title"), [(1, "1 layer"), (10, "10 layers")])
def test_a_short_list_is_shown_whole(count: int, title: str) -> None:
    lines = [line.strip() for line in _shown(count)]
    assert f"Not compressed: {title}" in lines
    for number in range(count):
        assert [
            line.split(maxsplit=1) for line in lines if line.startswith(f"layer[{number}]")
        ] == [[f"layer[{number}].conv", f"reason [red]{number}"]]
    assert "more" not in " ".join(lines)


def test_a_long_list_is_cut_and_says_where_the_rest_is() -> None:
    lines = _shown(200)
    assert sum(line.strip().startswith("layer[") for line in lines) == 5
    assert lines[-1] == f"... and 195 more; the first line of {EVENTS} has them all"
    assert len(lines) < 12
