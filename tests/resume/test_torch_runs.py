"""Real training goes on from a snapshot as if nothing had happened, to the bit."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accaware import AccAwareConfig
from accaware.errors import CheckpointError, UnkeepableError, UsageError
from accaware.plugins.plugin import Plugin
from accaware.pytorch.run import build
from accaware.pytorch.state.state_files import StateFiles
from accaware.pytorch.training.snapshots import TorchSnapshots
from accaware.search import SearchResult, TrialPhase
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import SNAPSHOT
from tests.resume.test_fake_runs import timeless
from tests.resume.tiny_plugin import Likely, Tiny

PRUNING = {
    "algorithm": "filter_pruning",
    "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 64}},
    "params": {
        "schedule": "exponential",
        "pruning_target": 0.4,
        "pruning_steps": 2,
        "prune_first_conv": True,
        "prune_downsample_convs": True,
    },
}
# Without an initial phase there is nothing that follows a schedule.
UNSCHEDULED = {
    **PRUNING,
    "params": {"prune_first_conv": True, "prune_downsample_convs": True},
}
SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {
        "sparsity_target": 0.5,
        "sparsity_target_epoch": 1,
        "sparsity_freeze_epoch": 3,
        "update_per_optimizer_step": True,
    },
}
INT8 = [
    PRUNING,
    {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 32}}},
    {"algorithm": "knowledge_distillation", "type": "softmax"},
]
LEARNED = {
    **PRUNING,
    "params": {
        **PRUNING["params"],
        "interlayer_ranking_type": "learned_ranking",
        "legr_params": {"generations": 6, "train_steps": 2},
    },
}
RECONSTRUCTED = {**PRUNING, "params": {**PRUNING["params"], "reconstruction_samples": 48}}
TAYLOR = {
    **PRUNING,
    "params": {**PRUNING["params"], "filter_importance": "taylor", "allocation": "cost_aware"},
}
ADAPTIVE: dict[str, Any] = {
    "mode": "adaptive_compression_level",
    "params": {
        "maximal_absolute_accuracy_degradation": 1.0,
        "initial_training_phase_epochs": 2,
        "patience_epochs": 2,
        "initial_compression_rate_step": 0.2,
        "maximal_total_epochs": 8,
    },
}
FROM_THE_FIRST_STEP = {
    **ADAPTIVE,
    "params": {**ADAPTIVE["params"], "initial_training_phase_epochs": 0, "maximal_total_epochs": 6},
}
# Long enough for a learning-rate schedule that was not restored to make a difference.
PATIENT = {
    **ADAPTIVE,
    "params": {**ADAPTIVE["params"], "patience_epochs": 3, "maximal_total_epochs": 6},
}
AVERAGED = {**PATIENT, "params": {**PATIENT["params"], "weight_averaging": "polynomial"}}
EARLY_EXIT: dict[str, Any] = {
    "mode": "early_exit",
    "params": {"maximal_absolute_accuracy_degradation": -0.0, "maximal_total_epochs": 5},
}
AVERAGED_EARLY_EXIT = {
    **EARLY_EXIT,
    # Within which it won't be, so that it goes on to its end.
    "params": {
        "maximal_absolute_accuracy_degradation": -0.0,
        "maximal_total_epochs": 5,
        "weight_averaging": "polynomial",
    },
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Ended:
    """What a process left: its result and model, and its folder as it was at each snapshot."""

    result: SearchResult
    model: dict[str, bytes]
    answers: list[tuple[str, Any]]
    copies: list[tuple[int, Path]]

    @property
    def outcome(self) -> Any:
        return repr(timeless(self.result)), self.model


def _copy(source: str, target: str) -> None:
    with suppress(FileNotFoundError):  # what is no longer needed goes in the background
        shutil.copy2(source, target)


def search(
    config: dict[str, Any],
    folder: Path,
    recorded: list[tuple[str, Any]],
    kind: type[Tiny] = Tiny,
    copied_at: str = SNAPSHOT,
    into: list[tuple[int, Path]] | None = None,
    **plugin: Any,
) -> Ended:
    answers = list(recorded)
    copies: list[tuple[int, Path]] = [] if into is None else into

    def record(call: str, answer: Any) -> None:
        answers.append((call, copy.deepcopy(answer)))
        if call == copied_at:
            saved = folder.with_name(f"{folder.name}-{len(answers)}")
            copies.append((len(answers), shutil.copytree(folder, saved, copy_function=_copy)))

    run = build(
        AccAwareConfig.from_dict({"device": "cpu", "batch_size": 16, **config}),
        Plugin("tiny", kind(**plugin)),
        checkpoints=folder,
        observers=[],
        replay=Replay(recorded, record),
    )
    result = run.search()
    run.save_model(folder.with_name(f"{folder.name}.pt"))
    content = torch.load(folder.with_name(f"{folder.name}.pt"), weights_only=True)
    model = {name: value.numpy().tobytes() for name, value in content["state_dict"].items()}
    return Ended(result, model, answers, copies)


@pytest.mark.parametrize(
    ("training", "section"),
    [
        pytest.param(PATIENT, PRUNING, id="adaptive-pruning"),
        pytest.param(PATIENT, TAYLOR, id="adaptive-taylor"),
        pytest.param(PATIENT, RECONSTRUCTED, id="adaptive-reconstruction"),
        pytest.param(PATIENT, SPARSITY, id="adaptive-sparsity"),
        pytest.param(PATIENT, INT8, id="adaptive-int8"),
        pytest.param(FROM_THE_FIRST_STEP, UNSCHEDULED, id="no_initial_epochs-pruning"),
        pytest.param(EARLY_EXIT, PRUNING, id="early_exit-pruning"),
        pytest.param(EARLY_EXIT, SPARSITY, id="early_exit-sparsity"),
        pytest.param(EARLY_EXIT, INT8, id="early_exit-int8"),
        pytest.param(EARLY_EXIT, [SPARSITY, *INT8], id="early_exit-all"),
    ],
)
def test_from_every_snapshot_it_ends_the_same(
    section: Any, training: dict[str, Any], tmp_path: Path
) -> None:
    check_every_snapshot({"compression": section, "accuracy_aware_training": training}, tmp_path)


@pytest.mark.parametrize(
    ("training", "section"),
    [
        pytest.param(AVERAGED, PRUNING, id="adaptive-pruning"),
        pytest.param(AVERAGED_EARLY_EXIT, [SPARSITY, *INT8], id="early_exit-all"),
    ],
)
def test_averaged_weights_go_on_the_same(
    section: Any, training: dict[str, Any], tmp_path: Path
) -> None:
    config = {"compression": section, "accuracy_aware_training": training}
    check_every_snapshot(config, tmp_path, Likely)


CONFIRMED = {
    **PATIENT,
    # In vain: what is handed over is what came nearest after all had their turn.
    "params": {**PATIENT["params"], "confirmation": {"fraction": 0.5}, "required_confidence": 0.7},
}


SEVERAL: dict[str, Any] = {
    "mode": "adaptive_compression_level",
    "params": {
        "maximal_absolute_accuracy_degradation": 0.35,
        "strategy": "ramp",
        "parallel_trials": 2,
        "patience_epochs": 3,
        "minimal_compression_rate_step": 0.15,
        "maximal_compression_rate": 0.8,
        "weight_averaging": "polynomial",
    },
}


def test_trials_side_by_side_go_on_the_same_wherever_they_were_left(tmp_path: Path) -> None:
    config = {"compression": [UNSCHEDULED, *INT8[1:]], "accuracy_aware_training": SEVERAL}
    copies: list[tuple[int, Path]] = []
    undisturbed = search(config, tmp_path / "peace", [], Likely, copied_at="report", into=copies)
    calls = [call for call, _ in undisturbed.answers]
    phases = [trial.phase for trial in undisturbed.result.trials]
    assert phases.count(TrialPhase.SEARCH) >= 4
    for end, folder in copies[5::23]:
        marks = [at for at, call in enumerate(calls[:end], start=1) if call == SNAPSHOT]
        recorded = undisturbed.answers[: marks[-1] if marks else 0]
        assert search(config, folder, recorded, Likely).outcome == undisturbed.outcome, folder.name


def test_a_verdict_with_samples_goes_on_the_same(tmp_path: Path) -> None:
    config = {"compression": PRUNING, "accuracy_aware_training": CONFIRMED}
    result = check_every_snapshot(config, tmp_path)
    assert result.confirmation is not None
    assert result.confirmation.tried
    errors = [trial.standard_error for trial in result.trials]
    assert any(error is not None and error > 0 for error in errors)


def check_every_snapshot(
    config: dict[str, Any], folder: Path, kind: type[Tiny] = Tiny
) -> SearchResult:
    undisturbed = search(config, folder / "peace", [], kind)
    assert len(undisturbed.copies) >= 3
    for end, copied in undisturbed.copies:
        resumed = search(config, copied, undisturbed.answers[:end], kind)
        assert resumed.outcome == undisturbed.outcome, copied.name
    return undisturbed.result


def test_a_learned_ranking_changes_nothing_and_is_not_learned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    real = Tiny.train_epoch

    def train_epoch(self: Tiny, *arguments: Any) -> float:
        loss = real(self, *arguments)
        epochs.append(self.epochs)
        return loss

    monkeypatch.setattr(Tiny, "train_epoch", train_epoch)
    config = {"compression": LEARNED, "accuracy_aware_training": ADAPTIVE}
    undisturbed = search(config, tmp_path / "peace", [])
    learning = epochs[: len(epochs) - undisturbed.result.epochs]
    # The plugin counts, and its count is as it was before each candidate and after the last.
    assert set(learning) == {1}
    assert 1 < len(learning) <= 6
    assert epochs[len(learning) :] == list(range(1, undisturbed.result.epochs + 1))
    assert [call for call, _ in undisturbed.answers].count("ranking_coefficients") == 1

    end, folder = undisturbed.copies[1]
    del epochs[:]
    assert search(config, folder, undisturbed.answers[:end]).outcome == undisturbed.outcome
    assert len(epochs) == undisturbed.result.epochs - 2


def test_with_workers_it_ends_the_same(tmp_path: Path) -> None:
    config = {
        "compression": SPARSITY,
        "accuracy_aware_training": {
            **EARLY_EXIT,
            "params": {**EARLY_EXIT["params"], "maximal_total_epochs": 2},
        },
        "num_workers": 2,
    }
    undisturbed = search(config, tmp_path / "peace", [])
    end, folder = undisturbed.copies[1]
    assert search(config, folder, undisturbed.answers[:end]).outcome == undisturbed.outcome


def test_a_flipped_bit_in_a_checkpoint_is_told(tmp_path: Path) -> None:
    config = {"compression": PRUNING, "accuracy_aware_training": ADAPTIVE}
    undisturbed = search(config, tmp_path / "peace", [])
    end, folder = undisturbed.copies[-1]
    for file in folder.glob("trial-*.pt"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"trial-\d-save-\d\.pt is damaged: it is not what"):
        search(config, folder, undisturbed.answers[:end])


class Part:
    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return {"it": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state["it"]


@pytest.mark.parametrize("state", [None, 1.5, "a", (1, [2.0]), {"a": {3: torch.ones(2)}}])
def test_plain_states_come_back(state: Any, tmp_path: Path) -> None:
    digests = TorchSnapshots(StateFiles(tmp_path), {"part": Part(state)}).save("one")
    part = Part("other")
    TorchSnapshots(StateFiles(tmp_path), {"part": part}).load("one", digests)
    assert str(part.state) == str(state)


@pytest.mark.parametrize("state", [nn.ReLU(), lambda: None, [{"a": Path()}]])
def test_other_states_are_refused_at_once(state: Any, tmp_path: Path) -> None:
    with pytest.raises(UnkeepableError, match="the state of the part, 'it'"):
        TorchSnapshots(StateFiles(tmp_path), {"part": Part(state)}).save("one")
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_of_something_else_is_refused(tmp_path: Path) -> None:
    digests = TorchSnapshots(StateFiles(tmp_path), {"part": Part(1)}).save("one")

    class Other(Part):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.state = state["that"]

    with pytest.raises(CheckpointError, match=r"one\.pt doesn't fit the part: 'that'"):
        TorchSnapshots(StateFiles(tmp_path), {"part": Other(1)}).load("one", digests)


def test_another_seed_would_draw_other_data_to_confirm_by(tmp_path: Path) -> None:
    config: dict[str, Any] = {"compression": PRUNING, "accuracy_aware_training": CONFIRMED}
    short = {**CONFIRMED["params"], "maximal_total_epochs": 2}
    config["accuracy_aware_training"] = {**CONFIRMED, "params": short}
    first = search(config, tmp_path / "first", [])
    end, copied = first.copies[0]
    with pytest.raises(UsageError, match="drawn by the seed 0, and with 1"):
        search({**config, "seed": 1}, copied, first.answers[:end])
