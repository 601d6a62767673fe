"""One run in two processes: one model, each sample once, and the first one's word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.torchrun.conftest import PRUNING, Cases, config, needs_processes, run_cases

pytestmark = needs_processes

CONFIRMED = {"confirmation": {"fraction": 0.4}}
ALL_AT_ONCE = [
    {
        **PRUNING,
        "params": {
            **PRUNING["params"],
            "interlayer_ranking_type": "learned_ranking",
            "legr_params": {"generations": 4, "train_steps": 2},
        },
    },
    {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 40}}},
    {"algorithm": "knowledge_distillation", "type": "softmax"},
]
BY_GRADIENTS = {
    **PRUNING,
    "params": {
        **PRUNING["params"],
        "filter_importance": "taylor",
        "allocation": "cost_aware",
        "reconstruction_samples": 40,
    },
}
SIDE_BY_SIDE = {"strategy": "ramp", "parallel_trials": 2, "patience_epochs": 1}
SHORT = {"maximal_total_epochs": 2}
EARLY_EXIT = {
    "mode": "early_exit",
    "params": {"maximal_absolute_accuracy_degradation": 0.0, "maximal_total_epochs": 2},
}
IN_STEPS = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_target_epoch": 1, "update_per_optimizer_step": True},
}
CASES: dict[str, dict[str, Any]] = {
    "pruning": {"config": config(PRUNING, search=CONFIRMED, trackers=["tensorboard"])},
    "pruning in one": {"config": config(PRUNING, search=CONFIRMED), "world": 1},
    "learned ranking, quantization, distillation": {
        "config": config(ALL_AT_ONCE, plugin_args={"autocast": True})
    },
    "gradients, reconstruction, averages": {
        "config": config(BY_GRADIENTS, search={"weight_averaging": "polynomial"})
    },
    "sparsity in steps": {
        "config": {
            **config(IN_STEPS, batch_size_total=16),
            "batch_size": None,
            "accuracy_aware_training": EARLY_EXIT,
        },
    },
    "the first one's": {
        "config": config(PRUNING, plugin="Judged", search=SHORT),
        "run": {"json": True},
    },
    "the mean": {
        "config": config(PRUNING, plugin="Judged", search=SHORT, metric={"reduce": "mean"}),
    },
    "loaders": {
        "config": config(PRUNING, plugin="Loading", search=SHORT),
        "run": {"output_dir": None},
    },
    "bfloat16": {
        "config": config(PRUNING, plugin="Mixed", search=SHORT, plugin_args={"half": "bfloat16"})
    },
    "float16": {
        "config": config(PRUNING, plugin="Mixed", search=SHORT, plugin_args={"half": "float16"})
    },
}
TOGETHER = [name for name, case in CASES.items() if case.get("world") != 1]
WRONG: dict[str, dict[str, Any]] = {
    "shares": {"config": config(PRUNING, batch_size_total=15) | {"batch_size": None}},
    "norms": {"config": config(PRUNING, sync_batchnorm=True)},
    "trials": {"config": config(PRUNING, search=SIDE_BY_SIDE, engine="ray")},
    "key": {"config": config(PRUNING, colour="red")},
    "nowhere": {"config": config(PRUNING), "run": {"auto_resume": True, "output_dir": None}},
}
KEYS = ("half", "stepped", "scales", "trained")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    return run_cases(tmp_path_factory.mktemp("launch"), {**CASES, **WRONG})


@pytest.mark.parametrize("name", TOGETHER)
def test_all_processes_have_one_model_and_one_result(cases: Cases, name: str) -> None:
    case = cases[name]
    # The first one's exit code tells what the run came to.
    assert case.codes[0] in (0, 3), case.said(0) + case.said(1)
    assert set(case.codes[1:]) == {0}
    before = case.notes(0, "before")
    assert len(set(before)) == len(before) > 1
    # Layout, weights and statistics: ranked, adapted, measured, corrected alike.
    assert before == case.notes(1, "before")
    assert case.said(1) == ""
    assert case.said(0) != ""


@pytest.mark.parametrize("name", TOGETHER)
def test_train_epoch_is_none_the_wiser(cases: Cases, name: str) -> None:
    case = cases[name]
    assert set(case.notes(0, "wrapper")) == {"Replica"}
    assert set(case.notes(0, "words")) == {"found on the wrapper too"}
    alone = cases["pruning in one"].notes(0, "names")[0]
    assert all(names in ([], alone) for names in case.notes(0, "names"))
    assert name == "loaders" or alone in case.notes(0, "names")
    # Each draws its own random numbers in the search, and the learning rate is what was asked for.
    assert set(case.notes(0, "random")[-2:]).isdisjoint(case.notes(1, "random")[-2:])
    assert {rate for rates in case.notes(0, "rates") for rate in rates} <= {0.05, 0.025, 0.0125}


def test_each_sample_counts_once_in_its_place(cases: Cases) -> None:
    several, one = cases["pruning"], cases["pruning in one"]
    for call in ("baseline", "confirmation_baseline"):
        (told,) = several.answers(call)
        assert told == one.answers(call)[0]
        assert told["standard_error"] > 0
    # Paired with the dense model's: by samples in another order it would be another one.
    measured = several.answers("validate")[0]
    assert measured["standard_error"] > 0
    assert set(cases["pruning in one"].notes(0, "wrapper")) == {"Sequential"}


def test_shapes_follow_the_search(cases: Cases) -> None:
    shapes = [json.dumps(each) for each in cases["pruning"].notes(1, "weights")]
    assert len(set(shapes)) == 2  # of two trials


def test_the_first_process_alone_tells_trackers(cases: Cases) -> None:
    files = [*(cases["pruning"].folder / "run" / "tensorboard").glob("**/*tfevents*")]
    # Of the run, the budget's line and two trials, each with a name that has its process.
    assert sorted(file.parent.name for file in files) == [
        *("limit", "tensorboard", "trial-000", "trial-001")
    ]
    assert len({file.name.split(".")[-2] for file in files}) == 1


def test_batches_are_shared_out(cases: Cases) -> None:
    assert set(cases["pruning"].notes(0, "batches")) == {3}  # of 48 samples
    assert set(cases["pruning in one"].notes(0, "batches")) == {6}
    assert set(cases["sparsity in steps"].notes(1, "batches")) == {6}  # of 8 samples each
    assert set(cases["loaders"].notes(1, "batches")) == {6}  # as they are
    assert "each process trains on all of the training data" in cases["loaders"].complained(0)


def test_a_plugins_own_validate(cases: Cases) -> None:
    first, mean = cases["the first one's"], cases["the mean"]
    assert set(first.answers("validate")) == {10.0}
    assert set(mean.answers("validate")) == {11.0}
    # All of the data are the first one's to judge by, and shares where all are asked.
    assert set(first.notes(0, "samples")) == {91}
    assert set(mean.notes(1, "samples")) == {46}
    # Statistics of batches of their own don't tell them apart.
    assert first.notes(0, "validated") == first.notes(1, "validated")
    printed = (first.folder / "out-0").read_text()
    assert json.loads(printed)["status"] == first.result["status"]


def test_without_a_directory_there_is_one(cases: Cases) -> None:
    folder = cases["loaders"].folder
    assert [path.name for path in (folder / "runs").iterdir()] == ["loaders-1"]
    assert (folder / "runs" / "loaders-1" / "best" / "model.pt").is_file()


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_in_half_precision_all_take_the_same_steps(cases: Cases, half: str) -> None:
    first, second = ([cases[half].notes(rank, key) for key in KEYS] for rank in range(2))
    # Before anybody makes the weights the same, who would tell of it.
    assert first == second
    assert "weights were no longer the same" not in cases[half].complained(0)
    halves, stepped, scales, _ = first
    assert set(halves) == {f"torch.{half}"}
    # What is too large in one of them is skipped by both.
    scaled = half == "float16"
    assert stepped == 2 * [[True, not scaled, True]]
    one, other = 2.0**15, 2.0**14
    assert scales == ([[2 * one, one, one], [one, other, other]] if scaled else 2 * [[1.0] * 3])


def test_what_goes_wrong_before_is_told_once(cases: Cases) -> None:
    for name, message in (
        ("shares", "batch_size_total: 15 samples can't be shared equally by 2 processes"),
        ("norms", "sync_batchnorm: torch synchronizes batch norms on GPUs alone"),
        ("trials", "parallel_trials above 1 is for a run in one process"),
        ("key", "colour"),
        ("nowhere", "--auto-resume goes on with the run in a directory: name it by --output-dir"),
    ):
        case = cases[name]
        assert case.codes == [2, 2], case.said(0) + case.said(1)
        assert case.said(0).count(message) == 1
        assert case.said(1) == ""
        assert not (case.folder / "run").exists()
