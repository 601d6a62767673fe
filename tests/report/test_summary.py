"""The final table."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from accaware.report.console import console_on
from accaware.report.summary import Summary
from accaware.results.handed_over import HandedOver
from accaware.results.latency import LatencyComparison
from accaware.results.sizes import ModelSizes, Size
from accaware.search import SearchResult
from accaware.search.params import Confirmation
from tests.rundir.test_result_document import LATENCY
from tests.runners.fake import adaptive, search
from tests.search.test_confirmation import of_samples

PRUNED = ModelSizes(
    parameters=Size(11_172_810, 1_900_000),
    nonzero_parameters=Size(11_172_810, 1_900_000),
    flops=Size(1_820_000_000, 410_000_000),
    filters=Size(4800, 960),
    file_size=Size(44_800_000, 7_700_000),
)
SPARSE = ModelSizes(
    parameters=Size(1000, 1000),
    nonzero_parameters=Size(1000, 200),
    flops=Size(5000, 5000),
    filters=Size(64, 64),
    file_size=Size(4100, 4100),
)
MODEL = Path("runs/digits-1/best/model.pt")


def _shown(
    result: SearchResult,
    sizes: ModelSizes | None = PRUNED,
    model: Path | None = MODEL,
    name: str = "top1",
    latency: LatencyComparison | None = None,
) -> str:
    stream = io.StringIO()
    summary = Summary(
        result=result,
        model=None if sizes is None else HandedOver(sizes=sizes, latency=latency),
        metric_name=name,
        path=model,
        seconds=125,
    )
    console_on(stream).print(summary, crop=False)
    return stream.getvalue()


def _table(shown: str) -> dict[str, list[str]]:
    lines = [re.split(r" {2,}", line.strip()) for line in shown.splitlines() if "  " in line]
    return {line[0]: line[1:] for line in lines}


def _within_budget() -> SearchResult:
    params = adaptive(
        minimal_compression_rate_step=0.1, maximal_absolute_accuracy_degradation=0.065
    )
    return search(lambda rate, age: 1 - rate / 10, params).run().result


def test_pruning_within_budget() -> None:
    shown = _shown(_within_budget())
    assert _table(shown) == {
        "dense": ["compressed"],
        "top1": ["1.0000", "0.9400", "limit 0.9350"],
        "drop": ["0.0600 (6.0 %)", "allowed 0.0650"],
        "compression rate": ["60.0 %", "asked for 60.0 %"],
        "parameters": ["11.2 M", "1.9 M", "5.9x smaller"],
        "FLOPs": ["1.82 GFLOPs", "410 MFLOPs", "4.4x smaller"],
        "filters": ["4800", "960", "5.0x smaller"],
        "file size": ["44.8 MB", "7.7 MB", "5.8x smaller"],
    }
    lines = shown.splitlines()
    assert lines[1] == "WITHIN BUDGET"
    assert lines[-2] == (
        "Stopped after 3 trials, 3 epochs, 2 min 05 s: "
        "the next step would be below the minimal compression rate step"
    )
    assert lines[-1] == f"Model: {MODEL}"


def test_sparsity_tells_of_zeros_and_not_of_filters() -> None:
    table = _table(_shown(_within_budget(), SPARSE))
    assert table["parameters"] == ["1000", "1000", "the same"]
    assert table["nonzero parameters"] == ["1000", "200", "5.0x smaller"]
    assert "filters" not in table


def test_how_fast_it_is() -> None:
    table = _table(_shown(_within_budget(), latency=LATENCY))
    assert table["latency in onnxruntime"] == ["4 ms", "1 ms", "4.00x faster"]
    assert not any(name.startswith("latency") for name in _table(_shown(_within_budget())))


def test_a_best_effort_is_plainly_called_one() -> None:
    params = adaptive(minimal_compression_rate=0.3)
    shown = _shown(search(lambda rate, age: 1 - rate, params).run().result)
    assert "BEST EFFORT, NOT WITHIN BUDGET" in shown.splitlines()
    assert f"Model: {MODEL}" in shown
    assert _table(shown)["drop"] == ["0.3000 (30.0 %)", "allowed 0.1000"]


def test_nothing_judged_names_no_model() -> None:
    shown = _shown(search(lambda rate, age: math.nan).run().result, None, None)
    assert "NOT WITHIN BUDGET: no trial could be judged, and no model is saved" in shown
    assert "Model:" not in shown
    assert _table(shown) == {}


def test_lower_is_better() -> None:
    params = adaptive(
        minimal_compression_rate_step=0.1, maximal_absolute_accuracy_degradation=0.065
    )
    done = search(lambda rate, age: 1 + rate / 10, params, higher_is_better=False).run()
    table = _table(_shown(done.result, name="perplexity"))
    assert table["perplexity"] == ["1.0000", "1.0600", "limit 1.0650"]
    assert table["drop"] == ["0.0600 (6.0 %)", "allowed 0.0650"]


def test_the_models_path_is_never_broken() -> None:
    model = Path("/very/long" * 20) / "model.pt"
    assert f"Model: {model}\n" in _shown(_within_budget(), model=model)


def test_colour_is_for_terminals() -> None:
    assert "\x1b" not in _shown(_within_budget())
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="standard", _environ={})
    console.print(
        Summary(
            result=_within_budget(),
            model=HandedOver(sizes=PRUNED),
            metric_name="top1",
            path=MODEL,
            seconds=1,
        )
    )
    assert "\x1b[1;32mWITHIN BUDGET\x1b[0m" in stream.getvalue()


def test_brackets_are_no_markup() -> None:
    assert "top[bold]1" in _shown(_within_budget(), name="top[bold]1")


# What is known of samples, and confirmation -----------------------------------------------------


def _confirmed(unseen: Callable[[float], int], **changes: Any) -> SearchResult:
    """Ten samples of 200 are lost at a rate of 0.5, and a budget of 24."""
    params = adaptive(
        maximal_absolute_accuracy_degradation=0.12,
        minimal_compression_rate_step=0.1,
        confirmation=Confirmation(),
        **changes,
    )
    return (
        search(
            lambda rate, age: of_samples(180 - round(20 * rate)),
            params,
            baseline=of_samples(180),
            confirmation=lambda rate, age: of_samples(160 - unseen(rate)),
            confirmation_baseline=of_samples(160),
        )
        .run()
        .result
    )


def test_drops_come_with_their_standard_error_and_in_samples() -> None:
    shown = _shown(_confirmed(lambda rate: 4))
    table = _table(shown)
    assert table["top1"] == ["0.9000", "0.8050", "limit 0.7800"]
    assert table["drop"] == ["0.0950 \u00b1 0.0208 (10.6 %)", "allowed 0.1200"]
    assert table["in samples"] == ["19 of 200 samples", "allowed 24 samples"]
    assert table["top1, confirmation"] == ["0.8000", "0.7800", "limit 0.6800"]
    assert table["drop, confirmation"] == ["0.0200 \u00b1 0.0099 (2.5 %)", "allowed 0.1200"]
    assert table["in samples, confirmation"] == ["4 of 200 samples", "allowed 24 samples"]
    assert "WITHIN BUDGET" in shown.splitlines()
    assert "Not confirmed" not in shown


def test_what_was_not_confirmed_is_told() -> None:
    result = _confirmed(lambda rate: 30 if rate > 0.7 else 4)
    lines = _shown(result).splitlines()
    refused = [line for line in lines if line.startswith("Not confirmed: trial ")]
    assert refused
    assert all("drop 0.1500 (18.8 %), allowed 0.1200" in line for line in refused)
    assert "WITHIN BUDGET" in lines
    lines = _shown(_confirmed(lambda rate: 30)).splitlines()
    assert "BEST EFFORT, NOT WITHIN BUDGET" in lines


def test_with_a_confidence_the_bound_is_told() -> None:
    table = _table(_shown(_confirmed(lambda rate: 4, required_confidence=0.9)))
    assert table["with 90.0 % confidence"][0].startswith("at most 0.1")
    assert table["with 90.0 % confidence, confirmation"] == ["at most 0.0327", "allowed 0.1200"]


def test_where_only_ascii_can_be_shown_the_sign_is_spelled() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    summary = Summary(
        result=_confirmed(lambda rate: 4),
        model=None,
        metric_name="top1",
        path=None,
        seconds=1,
    )
    console_on(stream).print(summary, crop=False)
    stream.flush()
    stream.seek(0)
    assert "0.0950 +- 0.0208" in stream.read()
