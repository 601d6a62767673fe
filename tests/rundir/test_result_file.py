"""result.json read back says what was written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from accaware.errors import UsageError
from accaware.results import strict_json
from accaware.results.handed_over import HandedOver
from accaware.rundir.result_file import read_result, result_document
from accaware.search.params import Confirmation
from tests.rundir.test_result_document import EXPORTS, LATENCY, LAYERS, QUANTIZERS, SIZES
from tests.runners.benches import Training, several
from tests.runners.fake import Script, adaptive, early_exit, holds_up_to, search
from tests.search.test_confirmation import of_samples
from tests.search.test_parallel_trials import Ended


@pytest.mark.parametrize(
    ("metric", "finished"),
    [
        (holds_up_to(0.65), True),
        (lambda rate, age: 0.5, True),
        (lambda rate, age: math.nan if rate > 0.5 else 1.0, True),
        (lambda rate, age: math.nan, True),
    ],
)
def test_a_result_comes_back(tmp_path: Path, metric: Script, finished: bool) -> None:
    result = search(metric, adaptive(minimal_compression_rate_step=0.1)).run().result
    document = result_document(
        result,
        HandedOver(
            sizes=SIZES, layers=LAYERS, quantizers=QUANTIZERS, latency=LATENCY, exports=EXPORTS
        ),
        metric_name="top1",
        seconds=2.5,
    )
    file = tmp_path / "result.json"
    file.write_text(strict_json.document(document))
    outcome = read_result(file)
    assert outcome is not None
    assert outcome.finished is finished
    again = result_document(
        outcome.result,
        outcome.model,
        metric_name=outcome.metric_name,
        seconds=outcome.seconds,
    )
    assert again == document
    assert outcome.result.budget == result.budget


def test_a_trial_that_was_left_comes_back_as_such(tmp_path: Path) -> None:
    def metric(rate: float, age: int) -> float:
        return 1.0 if rate > 0.3 and age > 1 else 0.8

    result = Ended(Training(metric), several(2, maximal_compression_rate=0.5)).result
    document = result_document(result, None, metric_name="top1", seconds=2.5)
    assert any(trial.get("cancelled") for trial in document["trials"])
    file = tmp_path / "result.json"
    file.write_text(strict_json.document(document))
    outcome = read_result(file)
    assert outcome is not None
    states = [trial.state for trial in outcome.result.trials]
    assert states == [trial.state for trial in result.trials]


@pytest.mark.parametrize("unseen", [0.9, 0.5, math.nan])
def test_a_confirmation_comes_back(tmp_path: Path, unseen: float) -> None:
    result = (
        search(
            lambda rate, age: of_samples(180 - round(20 * rate)),
            adaptive(confirmation=Confirmation(), required_confidence=0.6),
            baseline=of_samples(180),
            confirmation=lambda rate, age: (
                of_samples(round(200 * unseen)) if math.isfinite(unseen) else unseen
            ),
            confirmation_baseline=of_samples(180),
        )
        .run()
        .result
    )
    document = result_document(result, None, metric_name="top1", seconds=1)
    file = tmp_path / "result.json"
    file.write_text(strict_json.document(document))
    outcome = read_result(file)
    assert outcome is not None
    assert result_document(outcome.result, None, metric_name="top1", seconds=1) == document
    assert outcome.result.confirmation is not None
    assert result.confirmation is not None
    assert outcome.result.confirmation.budget == result.confirmation.budget
    assert outcome.result.budget == result.budget
    assert outcome.result.best is not None
    assert outcome.result.best.standard_error is not None


def test_what_an_earlier_version_wrote_comes_back(tmp_path: Path) -> None:
    document = _whole()
    for key in ("required_confidence", "samples", "confirmation"):
        del document[key]
    for part in (document["best"], *document["trials"]):
        del part["standard_error"]
    for trial in document["trials"]:
        del trial["lr_factor"], trial["start"]
    (tmp_path / "r").write_text(strict_json.document(document))
    outcome = read_result(tmp_path / "r")
    assert outcome is not None
    assert outcome.result.best is not None
    assert outcome.result.best.standard_error is None
    assert outcome.result.confirmation is None


def test_a_failed_one_is_not_finished(tmp_path: Path) -> None:
    result = search(lambda rate, age: math.nan, early_exit()).run().result
    file = tmp_path / "result.json"
    document = result_document(result, None, metric_name="top1", seconds=1)
    file.write_text(strict_json.document(document))
    outcome = read_result(file)
    assert outcome is not None
    assert not outcome.finished
    assert outcome.model is None


@pytest.mark.parametrize(
    "at",
    [
        ("trials", 0, "reason"),
        ("best", "trial"),
        ("model", "flops"),
        ("model", "flops", "dense"),
        ("latency", "dense", "median"),
        ("quantizers", 1, "bits"),
        ("exports", 0, "file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, at: tuple[str | int, ...]) -> None:
    document = _whole()
    _at(document, at[:-1]).pop(at[-1])
    (tmp_path / "r").write_text(strict_json.document(document))
    with pytest.raises(UsageError) as caught:
        read_result(tmp_path / "r")
    assert str(caught.value) == f"{tmp_path / 'r'}: can't be read: KeyError({at[-1]!r})"


@pytest.mark.parametrize("at", [(), ("best",), ("model", "flops"), ("exports", 0), ("latency",)])
def test_keys_of_a_newer_accaware_are_passed_over(
    tmp_path: Path, at: tuple[str | int, ...]
) -> None:
    document = _whole()
    (tmp_path / "r").write_text(strict_json.document(document))
    before = read_result(tmp_path / "r")
    _at(document, at)["new"] = 1
    (tmp_path / "r").write_text(strict_json.document(document))
    after = read_result(tmp_path / "r")
    assert before is not None
    assert after is not None
    assert (after.result, after.model) == (before.result, before.model)


def test_numbers_that_were_not_finite_are_none(tmp_path: Path) -> None:
    document = _whole()
    document["exports"][0]["largest_difference"] = math.nan
    (tmp_path / "r").write_text(strict_json.document(document))
    found = read_result(tmp_path / "r")
    assert found is not None
    assert found.model is not None
    assert found.model.exports[0].largest_difference is None


def _whole() -> dict[str, Any]:
    result = search(holds_up_to(0.65), adaptive(minimal_compression_rate_step=0.1)).run().result
    model = HandedOver(
        sizes=SIZES, layers=LAYERS, quantizers=QUANTIZERS, latency=LATENCY, exports=EXPORTS
    )
    return result_document(result, model, metric_name="top1", seconds=2.5)


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_result(tmp_path / "result.json") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": 1}'])
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(UsageError, match="r: can't be read"):
        read_result(tmp_path / "r")
