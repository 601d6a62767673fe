"""A LightningModule in two processes is trained as Lightning's own DDP would train it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.torchrun.conftest import Case, Cases, config, needs_processes, run_cases

pytestmark = [
    needs_processes,
    pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed"),
]
FILE = Path(__file__).with_name("lit_watched.py")
COMPRESSION = [
    {"algorithm": "filter_pruning", "params": {"prune_first_conv": True}},
    {"algorithm": "knowledge_distillation", "type": "softmax"},
]


def of_lightning(module: str = "Net", world: int = 2, **keys: Any) -> dict[str, Any]:
    data = keys.pop("data", {"batch_size": 32 // world})
    arguments = {
        "module": f"{FILE}:{module}",
        "datamodule": f"{FILE}:Data",
        "datamodule_args": data,
        "monitor": "likelihood",
    }
    made = config(COMPRESSION, plugin_args=arguments, **keys)
    made = {**made, "plugin": "accaware.lightning", "batch_size": None}
    return {"config": made, "world": world, "imports": ["lightning", "torchmetrics"]}


SHARES = {"data": {"batch_size": 16, "shuffle": True}, "metric": {"reduce": "mean"}}
CASES: dict[str, dict[str, Any]] = {
    "one": of_lightning(world=1),
    "two": of_lightning(),
    "shares": of_lightning("WithSpare", **SHARES),
    "breaks": of_lightning("Breaks", **SHARES),
    "goes on": {
        **of_lightning("Breaks", **SHARES),
        "in": "breaks",
        "run": {"auto_resume": True},
    },
    "leaves out": of_lightning("LeavesOut"),
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    return run_cases(tmp_path_factory.mktemp("lightning"), CASES)


def model(case: Case) -> dict[str, Tensor]:
    content = torch.load(case.folder / "run" / "best" / "model.pt", weights_only=True)
    state: dict[str, Tensor] = content["state_dict"]
    return state


@pytest.mark.parametrize("name", ["two", "shares"])
def test_all_processes_have_one_model(cases: Cases, name: str) -> None:
    case = cases[name]
    assert case.codes == [0, 0], case.said(0) + case.said(1)
    assert len(set(case.notes(0, "trained"))) == 4
    # Before anybody makes them the same, who would tell of it.
    assert case.notes(0, "trained") == case.notes(1, "trained")
    assert "weights were no longer the same" not in case.complained(0)
    assert case.said(1) == ""


def test_gradients_are_those_of_the_whole_batch(cases: Cases) -> None:
    one, two = cases["one"], cases["two"]
    assert one.codes == [0], one.said(0)
    expected, found = model(one), model(two)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    # The parameter that training_step alone reads learns like all others.
    temperatures = two.notes(0, "temperature")
    assert len({1.0, *temperatures}) == 5
    assert temperatures == pytest.approx(one.notes(0, "temperature"), abs=1e-6)


def test_the_metric_is_of_all_samples(cases: Cases) -> None:
    (whole,) = cases["one"].answers("baseline")
    for name, judged in (("two", 70), ("shares", 35)):
        case = cases[name]
        assert set(case.notes(1, "judged")) == {judged}
        assert case.answers("baseline") == [pytest.approx(whole, abs=1e-6)]
        # Each sample counts once for metrics, which ask other processes by themselves.
        assert set(case.notes(0, "counted")) == set(case.notes(1, "counted")) == {70}
        dense = cases["one"].notes(0, "accuracy")[0]
        assert case.notes(0, "accuracy")[0] == case.notes(1, "accuracy")[0] == dense


def test_training_data_are_shared_out_anew_each_epoch(cases: Cases) -> None:
    first, second = (cases["shares"].notes(rank, "samples") for rank in range(2))
    assert {tuple(sorted(one + other)) for one, other in zip(first, second, strict=True)} == {
        tuple(sorted(first[0] + second[0]))
    }
    assert len({*first[0], *second[0]}) == 96
    assert len(set(map(tuple, first))) == len(first) == 4
    assert "each process trains on all" not in cases["shares"].complained(0)


def test_the_module_knows_which_process_it_is_in(cases: Cases) -> None:
    for rank in range(2):
        assert cases["two"].notes(rank, "place")[0] == [2, 2, rank, rank == 0]
    assert (cases["two"].folder / "prepared").read_text() == "once\n"


def test_a_batch_that_is_left_out_is_no_wait_for_ever(cases: Cases) -> None:
    case = cases["leaves out"]
    assert case.codes == [2, 2]
    assert case.complained(0).count("training_step returned None to leave a batch out") == 1


def test_as_many_go_on_as_if_nothing_had_been(cases: Cases) -> None:
    whole, broken, case = (cases[name] for name in ("shares", "breaks", "goes on"))
    assert broken.codes == [1, 1]
    assert "in the process of rank 1, of 2" in broken.complained(1)
    assert case.codes == [0, 0], case.said(0) + case.said(1)
    assert case.result["trials"] == whole.result["trials"]
    torch.testing.assert_close(model(case), model(whole), rtol=0, atol=0)
