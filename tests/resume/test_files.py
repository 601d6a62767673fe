"""What is in a run's checkpoints, and what becomes of a run when the disk takes some of it away."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from accaware.errors import CheckpointError
from accaware.pytorch.channels.shared import Shared
from accaware.pytorch.state.checkpoint import write_checkpoint
from accaware.pytorch.state.state_files import StateFiles
from accaware.pytorch.state.tensor_packing import packed
from accaware.pytorch.training.snapshots import TorchSnapshots
from accaware.rundir.atomic import digest_of
from accaware.rundir.journal_reader import SNAPSHOT, read_journal
from tests.resume.test_command import (
    accaware,
    config,
    expected,
    left_behind,
    one_thread,
    stopped_in,
)
from tests.resume.test_torch_runs import ADAPTIVE, INT8, PRUNING, SPARSITY, Part, search

__all__ = ["config", "expected", "one_thread"]


@pytest.mark.parametrize("section", [PRUNING, SPARSITY], ids=["pruning", "sparsity"])
def test_what_is_removed_is_written_once_a_layout(section: Any, tmp_path: Path) -> None:
    params = {**ADAPTIVE["params"], "initial_compression_rate_step": 0.1}
    params["maximal_total_epochs"] = 12
    training = {"compression": section, "accuracy_aware_training": {**ADAPTIVE, "params": params}}
    ended = search(training, tmp_path / "run", [])
    dense = {file.name for _, folder in ended.copies for file in folder.glob("dense-*.pt")}
    rates = {trial.compression_rate for trial in ended.result.trials}
    assert 1 < len(rates) <= len(dense) < len(ended.copies)
    # A base is gone with the last state that needs it.
    assert len(list(ended.copies[-1][1].glob("dense-*.pt"))) < len(dense)


def test_a_snapshot_is_as_small_as_the_model_at_hand(tmp_path: Path) -> None:
    training = {"compression": PRUNING, "accuracy_aware_training": ADAPTIVE}
    ended = search(training, tmp_path / "run", [])
    sizes = [
        (folder / f"snapshot-{epoch}.pt").stat().st_size
        for epoch, (_, folder) in enumerate(ended.copies, start=1)
    ]
    assert ended.result.trials[-1].compression_rate > 0.7
    # Weights and momentum of 1536 parameters, 4 bytes each, and most of both is gone.
    assert sizes[0] - sizes[-1] > 1.5 * 1536 * 4


def test_the_teacher_is_written_once(tmp_path: Path) -> None:
    ended = search({"compression": INT8, "accuracy_aware_training": ADAPTIVE}, tmp_path / "run", [])
    teachers = {file.name for _, folder in ended.copies for file in folder.glob("teacher-*.pt")}
    assert len(teachers) == 1
    end, folder = ended.copies[2]
    assert (
        search(
            {"compression": INT8, "accuracy_aware_training": ADAPTIVE}, folder, ended.answers[:end]
        ).outcome
        == ended.outcome
    )
    assert {file.name for file in folder.glob("teacher-*.pt")} == teachers


def test_a_power_cut_costs_at_most_the_last_epoch(
    config: Path, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what an epoch wrote, anything may be missing; what the one before wrote is there."""
    directory = stopped_in(6, config, monkeypatch)
    marks = [line.content for line in read_journal(directory / "events.jsonl")]
    *_, before, last = (mark["digests"] for mark in marks if mark["event"] == SNAPSHOT)
    young = sorted(last.keys() - before.keys())
    assert "snapshot-5" in young
    for name in young:
        spare = config.parent / name
        shutil.copytree(directory, spare)
        (spare / "checkpoints" / f"{name}.pt").write_bytes(b"")
        assert accaware(resume=spare) == 0
        assert "warning: snapshot-5 is damaged; going on from the one" in capsys.readouterr().err
        assert left_behind(spare) == expected, name


def test_a_damaged_base_is_told(
    config: Path, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(6, config, monkeypatch)
    bases = list((directory / "checkpoints").glob("dense-*.pt"))
    whole = [base.read_bytes() for base in bases]
    for base, content in zip(bases, whole, strict=True):
        base.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    assert accaware(resume=directory) == 2
    assert "snapshot-5 and snapshot-4 in checkpoints can't be read" in capsys.readouterr().err
    for base, content in zip(bases, whole, strict=True):
        base.write_bytes(content)
    assert accaware(resume=directory) == 0
    assert left_behind(directory) == expected


@pytest.mark.parametrize("failing", [1, 2, 6])
def test_what_does_not_reach_the_disk_ends_the_run(
    failing: int,
    config: Path,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal calls
        if threading.current_thread() is not threading.main_thread():
            calls += 1
            if calls >= failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    directory = config.parent / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert accaware(config=config, output_dir=directory) == 1
    error = capsys.readouterr().err
    assert f"error: {directory / 'checkpoints'}" in error
    assert "Input/output error" in error
    assert "Traceback" not in error
    assert accaware(resume=directory) == 0
    assert left_behind(directory) == expected


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    state = {
        "small": torch.randn(3, 2),
        "large": torch.randn(300, 300),
        "flipped": torch.randn(3, 2).t(),
        "none": torch.empty(0, 2),
        "number": torch.tensor(3),
        "half": torch.ones(5, dtype=torch.bfloat16),
        "generator": torch.get_rng_state(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "views": [whole, whole[1:]],
        "kinds": (torch.float16, torch.Size([1, 2]), torch.device("cpu"), 1j, {1}),
    }
    digests = TorchSnapshots(StateFiles(tmp_path), {"part": Part(state)}).save("one")
    part = Part(None)
    TorchSnapshots(StateFiles(tmp_path), {"part": part}).load("one", digests)
    back = part.state
    assert back["kinds"] == state["kinds"]
    assert type(back["parameter"]) is torch.nn.Parameter
    torch.set_rng_state(back["generator"])
    back["views"][0][1] = 9.0
    assert back["views"][1][0] == 9.0
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            assert back[name].dtype == value.dtype
            assert torch.equal(back[name], value)


def test_a_state_that_nobody_wrote_is_told(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    files.write("one", {"a": 1})
    files.discard("one")
    with pytest.raises(CheckpointError, match=r"one\.pt is not a state of this run's"):
        files.read("one")


def test_bytes_that_would_run_code_are_refused(tmp_path: Path) -> None:

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    content = {"places": pickle.dumps([]), "together": [], "alone": []}
    file = tmp_path / "one.pt"
    write_checkpoint({**content, "structure": pickle.dumps(Evil())}, file)
    with pytest.raises(CheckpointError, match=r"one\.pt is damaged or not a saved model"):
        TorchSnapshots(StateFiles(tmp_path), {"part": Part(None)}).load(
            "one", {"one": digest_of(file)}
        )
    assert not (tmp_path / "made").exists()


ELSEWHERE = ["../victim", "/victim", "sub/victim", "..\\victim", "", ".", "victim\0"]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A sound state of another folder's, which has the name that the bad ones lead to."""
    StateFiles(tmp_path).write("victim", {"a": 1})
    (tmp_path / "own" / "sub").mkdir(parents=True)
    shutil.copy(tmp_path / "victim.pt", tmp_path / "own" / "sub")
    return tmp_path / "victim.pt"


@pytest.mark.parametrize("name", [*ELSEWHERE, "{absolute}"])
def test_a_name_leads_to_no_other_folder(name: str, victim: Path) -> None:
    name = name.format(absolute=victim.with_suffix(""))
    files = StateFiles(victim.parent / "own")
    with pytest.raises(CheckpointError, match="is not a name of a state"):
        files.read(name, digest_of(victim))
    with pytest.raises(CheckpointError, match="is not a name of a state"):
        files.write(name, {"a": 1})
    with pytest.raises(CheckpointError, match="is not a name of a state"):
        files.discard(name)
    snapshots = TorchSnapshots(files, {})
    with pytest.raises(CheckpointError, match="is not a name of a state"):
        snapshots.load(name, {name: digest_of(victim)})
    assert victim.exists()


@pytest.mark.parametrize("name", [*ELSEWHERE, "{absolute}"])
def test_a_reference_leads_to_no_other_folder(name: str, victim: Path) -> None:
    name = name.format(absolute=victim.with_suffix(""))
    content = packed({"part": Shared("dense", 1)}, lambda shared: (name, digest_of(victim)))
    file = victim.parent / "own" / "one.pt"
    write_checkpoint(content, file)
    with pytest.raises(CheckpointError, match="is not a name of a state"):
        StateFiles(victim.parent / "own").read("one", digest_of(file))


@pytest.mark.parametrize("name", [*ELSEWHERE, "{absolute}"])
@pytest.mark.parametrize("place", ["digests", "needs", "needed"])
def test_what_a_snapshot_tells_of_files_leads_to_no_other_folder(
    place: str, name: str, victim: Path
) -> None:
    name = name.format(absolute=victim.with_suffix(""))
    told: dict[str, Any] = {"digests": {}, "needs": {}}
    if place == "needed":
        told["needs"]["trial-0"] = {name: "0"}
    else:
        told[place][name] = {} if place == "needs" else "0"
    files = StateFiles(victim.parent / "own")
    digests = files.write("one", {"files": told})
    with pytest.raises(CheckpointError, match="is not a name of a state"):
        TorchSnapshots(StateFiles(victim.parent / "own"), {}).load("one", digests)
    assert victim.exists()


@pytest.mark.parametrize(
    "content", [{}, [], 1, {"files": 1}, {"files": {"digests": [], "needs": 1}}]
)
def test_what_is_no_snapshot_is_told(content: Any, tmp_path: Path) -> None:
    digests = StateFiles(tmp_path).write("one", content)
    snapshots = TorchSnapshots(StateFiles(tmp_path), {})
    with pytest.raises(CheckpointError, match=r"one\.pt doesn't fit the files"):
        snapshots.load("one", digests)
    with pytest.raises(CheckpointError, match=r"one\.pt is not among the files"):
        snapshots.load("one", {})


def test_tensors_with_several_names_are_written_once(tmp_path: Path) -> None:
    tensor = torch.randn(300, 300)
    files = StateFiles(tmp_path)
    files.write("one", {"a": tensor})
    files.write("two", {"a": tensor.detach(), "b": tensor, "c": [tensor.view(-1)]})
    one, two = (files.path(name).stat().st_size for name in ("one", "two"))
    assert two < one + 2000
    back = files.read("two")
    assert back["a"].data_ptr() == back["b"].data_ptr() == back["c"][0].data_ptr()
