"""An inspection as tables, wide and narrow, on a terminal and in a log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from accaware.report.cells import Bar
from accaware.report.console import console_on
from accaware.report.inspection import NAMED, SHOWN, InspectionReport
from accaware.results.inspection import (
    Inspection,
    LayerCost,
    Part,
    PartSensitivity,
    Sensitivity,
    TrainingCost,
)


def layer(number: int) -> LayerCost:
    return LayerCost(
        name=f"backbone.stages.{number}.block.convolution",
        kind="Conv2d",
        parameters=1000 * number,
        flops=2_000_000 * number,
        seconds=number / 1e4,
        part=number,
    )


def part(number: int) -> Part:
    name = f"backbone.stages.{number}.block.convolution"
    return Part(
        number=number,
        name=name,
        layers=(name, f"other.{number}"),
        size=64,
        least=1,
        saved_parameters=number / 1000,
        saved_flops=number / 500,
    )


def inspection(count: int = 3, reasons: int = 2) -> Inspection:
    numbers = range(1, count + 1)
    return Inspection(
        model="Net",
        device="cpu",
        algorithm="filter_pruning",
        rate_of="filters",
        parameters=25_600_000,
        flops=8_200_000_000,
        forward_seconds=0.0123,
        maximal_rate=0.985,
        steps_per_epoch=100,
        layers=tuple(map(layer, numbers)),
        parts=tuple(map(part, numbers)),
        left_out=tuple((f"head.{number}", "[it is] the output") for number in range(reasons)),
        training=(
            TrainingCost(
                rate=0.0, achieved=0.0, parameters=9, flops=9, step_seconds=2.0, epoch_seconds=200.0
            ),
            TrainingCost(
                rate=0.5, achieved=0.48, parameters=4, flops=3, step_seconds=1.0, epoch_seconds=None
            ),
        ),
        sensitivity=Sensitivity(
            samples=500,
            baseline=90.0,
            shares=(0.1, 0.3, 0.5),
            parts=tuple(
                PartSensitivity(part=number, metrics=(90.0, 90.0 - number, 90.0 - 2 * number))
                for number in numbers
            ),
        ),
    )


def shown(found: Inspection, width: int = 100, *, higher_is_better: bool = True) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, _environ={}, highlight=False)
    console.print(InspectionReport(found, "top1", higher_is_better))
    return stream.getvalue().splitlines()


def rows(lines: list[str], title: str) -> list[list[str]]:
    """The cells of the table below a title."""
    start = next(at for at, line in enumerate(lines) if line.startswith(title))
    table = lines[start + 3 :]
    end = next((at for at, line in enumerate(table) if not line.strip()), len(table))
    return [line.split() for line in table[:end]]


def test_it_says_what_is_there() -> None:
    lines = shown(inspection())
    assert lines[0] == "Net on cpu: 25.6 M parameters, 8.2 GFLOPs, 12.3 ms a forward"
    assert lines[1] == "filter_pruning: rates up to 98.5 % of the filters"
    assert rows(lines, "Layers")[0] == [
        "backbone.stages.1.block.convolution", "Conv2d", "1000", "2", "MFLOPs", "100", "us",
        "16.7", "%", "1",
    ]  # fmt: skip
    assert rows(lines, "Can be compressed: 3 groups")[2] == [
        "3", "backbone.stages.3.block.convolution", "+1", "64", "1",
        "0.6", "%", "FLOPs", "0.3", "%", "parameters",
    ]  # fmt: skip
    assert rows(lines, "Not compressed: 2 layers") == [
        ["[it", "is]", "the", "output", "head.0,", "head.1"]
    ]
    training = rows(lines, "An epoch of training")
    assert " ".join(training[0]) == "0.0 % 0.0 % 9 9 FLOPs 2.0 s 3 min 20 s"
    assert " ".join(training[1]) == "50.0 % 48.0 % 4 3 FLOPs 1.0 s - 0.50x"
    assert " ".join(training[2]) == "100 steps an epoch, validation aside"


def test_the_most_sensitive_part_comes_first_and_has_the_longest_bar() -> None:
    found = rows(shown(inspection(), 120), "Sensitivity: top1 with a part alone removed")
    assert [row[0] for row in found[:3]] == ["3", "2", "1"]
    assert found[0] == [
        "3", "backbone.stages.3.block.convolution", "90", "87", "█" * 7, "84", "█" * 14,
    ]  # fmt: skip
    turned = replace(
        inspection(),
        sensitivity=replace(
            inspection().sensitivity,
            parts=(
                PartSensitivity(part=1, metrics=(90.0, 95.0, 99.0)),
                PartSensitivity(part=2, metrics=(float("nan"), 91.0, 92.0)),
            ),
        ),
    )
    found = rows(shown(turned, 120, higher_is_better=False), "Sensitivity")
    assert [row[0] for row in found[:2]] == ["1", "2"]
    assert found[1][2:4] == ["nan", "█" * 14]


def test_long_lists_keep_their_costliest_entries_and_the_sum_of_the_others() -> None:
    lines = shown(inspection(SHOWN + 10, reasons=NAMED + 3))
    layers = rows(lines, "Layers")
    assert len(layers) == SHOWN + 1
    assert layers[0][0] == "backbone.stages.11.block.convolution"
    assert layers[-1][:5] == ["10", "cheaper", "ones", "55", "k"]
    parts = rows(lines, "Can be compressed: 40 groups")
    assert parts[0][0] == "11"
    assert " ".join(parts[-1]) == "... and 10 that save less; --json has them all"
    (left_out,) = rows(lines, "Not compressed: 11 layers")
    assert left_out[-3:] == ["and", "3", "more"]


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_screen_takes_from_names_alone_and_leaves_their_ends(width: int) -> None:
    lines, wide = shown(inspection(), width), shown(inspection(), 120)
    assert max(map(len, lines)) <= width
    for title in ("Layers", "Can be compressed", "An epoch of training"):
        mine, whole = rows(lines, title), rows(wide, title)
        for cut, uncut in zip(mine, whole, strict=True):
            different = [pair for pair in zip(cut, uncut, strict=True) if pair[0] != pair[1]]
            assert len(different) <= 1
            for short, name in different:
                assert short.startswith("…")
                assert name.endswith(short.removeprefix("…"))
    assert rows(lines, "Layers") != rows(wide, "Layers")


def test_a_log_has_neither_colours_nor_cuts(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    console_on(stream).print(InspectionReport(inspection(), "top1", True), crop=False)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "…" not in text


def test_bars_without_unicode() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=20, _environ={})
    for share in (0.0, 0.01, 0.5, 2.0):
        console.print(Bar(share, 10))
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    assert [line.strip() for line in buffer.getvalue().decode().splitlines() if line.strip()] == [
        "#",
        "#" * 5,
        "#" * 10,
    ]
