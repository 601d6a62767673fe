"""Whatever ends one of two processes early ends both, is told once, and the run goes on later."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import torch

from tests.torchrun.conftest import PRUNING, Case, Cases, config, needs_processes, run_cases

pytestmark = needs_processes

QUANTIZED = [PRUNING, {"algorithm": "quantization"}]


def breaking(how: str | int, rank: int = 1, plugin: str = "Watched", **more: Any) -> dict[str, Any]:
    arguments = {"breaks": str(how), "rank": rank, **more}
    return {"config": config(QUANTIZED, plugin=plugin, plugin_args=arguments)}


CASES: dict[str, dict[str, Any]] = {
    "whole": {"config": config(QUANTIZED)},
    "terminated": breaking(signal.SIGTERM),
    "interrupted": breaking(signal.SIGINT, rank=0),
    "preempted": breaking(signal.SIGUSR1, rank=-1),
    "terminated while it validates": breaking(signal.SIGTERM, 1, "Judged", validating=True),
    "raises": breaking("raise"),
    "all raise": breaking("raise", rank=-1),
    "memory": breaking("memory"),
    "killed": breaking(signal.SIGKILL),
    "hangs": {
        **breaking("hang"),
        "environment": {"ACCAWARE_PROCESS_TIMEOUT": "10"},
        "meanwhile": True,
    },
}
AGAIN: dict[str, dict[str, Any]] = {
    name: {"config": CASES[before]["config"], "in": before, "run": {"auto_resume": True}}
    for name, before in (
        ("terminated again", "terminated"),
        ("raises again", "raises"),
        ("terminated a third time", "terminated"),
    )
}
BY_ANOTHER_NUMBER: dict[str, dict[str, Any]] = {
    "interrupted, then one": {
        "in": "interrupted",
        "world": 1,
        "run": {"resume": "run", "output_dir": None},
    },
    "another config": {
        "config": config(QUANTIZED, seed=3),
        "in": "terminated",
        "run": {"auto_resume": True},
    },
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    return run_cases(tmp_path_factory.mktemp("ending"), {**CASES, **AGAIN, **BY_ANOTHER_NUMBER})


def model(case: Case) -> dict[str, bytes]:
    content = torch.load(case.folder / "run" / "best" / "model.pt", weights_only=True)
    return {name: each.numpy().tobytes() for name, each in content["state_dict"].items()}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("terminated", 143),
        ("interrupted", 130),
        ("preempted", 143),
        ("terminated while it validates", 143),
    ],
)
def test_a_signal_to_any_ends_all(cases: Cases, name: str, code: int) -> None:
    case = cases[name]
    assert case.codes == [code, code], case.said(0) + case.said(1)
    assert case.complained(0).count("interrupted") >= 1
    assert "Traceback" not in case.said(0) + case.said(1)
    stopped = [event for event in case.events if event["event"] == "run_stopped"]
    assert stopped[0]["reason"] == "interrupted"


@pytest.mark.parametrize("name", ["raises", "memory"])
def test_a_failure_of_one_is_told_once_with_its_rank(cases: Cases, name: str) -> None:
    case = cases[name]
    assert case.codes == [1, 1], case.said(0) + case.said(1)
    assert case.complained(1).count("error: train_epoch failed") == 1
    assert "in the process of rank 1, of 2" in case.complained(1)
    # The first one says how to go on, and no word of what the other one's end did to it.
    first = case.complained(0)
    assert "error" not in first
    assert "Traceback" not in first
    assert "to go on: accaware run --resume" in first
    stopped = [event for event in case.events if event["event"] == "run_stopped"]
    assert stopped[0]["reason"] == "failed"
    assert stopped[0]["message"].startswith("the process of rank 1 failed: train_epoch raised")


def test_a_failure_of_all_is_the_first_ones_to_tell(cases: Cases) -> None:
    case = cases["all raise"]
    assert case.codes == [1, 1]
    assert case.complained(0).count("ValueError: the plugin fails here") == 1
    assert case.complained(1) == ""


def test_a_process_that_is_gone_leaves_nobody_waiting(cases: Cases) -> None:
    case = cases["killed"]
    assert case.codes == [1, -signal.SIGKILL]
    assert "error: another process is gone or hangs" in case.complained(0)
    assert "to go on: accaware run --resume" in case.complained(0)


def test_a_process_that_hangs_is_waited_for_no_longer_than_was_said(cases: Cases) -> None:
    case = cases["hangs"]
    assert case.codes == [1, 1], case.said(0) + case.said(1)
    assert "error: another process is gone or hangs" in case.complained(0)
    assert "10000ms" in case.complained(0)
    assert "process 1 of 2 waited for one that has failed" in case.complained(1)


@pytest.mark.parametrize("name", ["terminated again", "raises again"])
def test_as_many_go_on_as_if_nothing_had_been(cases: Cases, name: str) -> None:
    whole, case = cases["whole"], cases[name]
    assert whole.codes == case.codes == [0, 0], case.said(0) + case.said(1)
    assert case.result == whole.result
    assert model(case) == model(whole)
    # All processes' random numbers went on where they were: these are of the last epochs.
    for rank in range(2):
        assert case.notes(rank, "random")[-3:] == whole.notes(rank, "random")[-3:]


def test_another_number_may_go_on_and_says_what_that_changes(cases: Cases) -> None:
    case = cases["interrupted, then one"]
    assert case.codes == [0]
    assert (
        "changed: the number of processes: 2 when the run began, 1 now; a training step is of 16 "
        "samples, and was of 32 (batch_size_total would keep it)"
    ) in case.complained(0)
    assert len(case.result["trials"]) == 2
    assert case.result["epochs"] == 4


def test_what_has_finished_is_not_done_again(cases: Cases) -> None:
    case = cases["terminated a third time"]
    assert case.codes == [0, 0]
    assert (case.folder / "out-0").read_text().count("had finished before") == 1
    assert len([event for event in case.events if event["event"] == "search_finished"]) == 1


def test_another_config_has_no_business_there(cases: Cases) -> None:
    case = cases["another config"]
    assert case.codes == [2, 2]
    assert case.complained(0).count("holds a run of another config:\n") == 1
    assert "  seed: 0 when the run began, 3 now" in case.complained(0)
