"""result.json read back says what was written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from accaware.errors import UsageError
from accaware.results import strict_json
from accaware.results.handed_over import HandedOver
from accaware.rundir.result_file import read_result, result_document
from tests.rundir.test_result_document import EXPORTS, LATENCY, QUANTIZERS, SIZES
from tests.runners.fake import Script, adaptive, early_exit, holds_up_to, search


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
        HandedOver(sizes=SIZES, quantizers=QUANTIZERS, latency=LATENCY, exports=EXPORTS),
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


def test_a_failed_one_is_not_finished(tmp_path: Path) -> None:
    result = search(lambda rate, age: math.nan, early_exit()).run().result
    file = tmp_path / "result.json"
    document = result_document(result, None, metric_name="top1", seconds=1)
    file.write_text(strict_json.document(document))
    outcome = read_result(file)
    assert outcome is not None
    assert not outcome.finished
    assert outcome.model is None


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_result(tmp_path / "result.json") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": 1}'])
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(UsageError, match="r: can't be read"):
        read_result(tmp_path / "r")
