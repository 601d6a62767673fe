"""``accaware.run`` and the command, with trackers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import accaware
from accaware import AccAwareConfig
from accaware.cli.app import app
from accaware.errors import MissingExtraError
from accaware.events import FiltersKnown
from tests.api.test_run import SPEC, Raising, Seen
from tests.trackers.test_tensorboard import curves, numbers

CONFIG: dict[str, Any] = {
    "batch_size": 16,
    "device": "cpu",
    "compression": {
        "algorithm": "filter_pruning",
        "params": {"prune_first_conv": True, "pruning_target": 0.4, "pruning_steps": 2},
    },
    "accuracy_aware_training": {
        "mode": "early_exit",
        "params": {"maximal_absolute_accuracy_degradation": 100.0, "maximal_total_epochs": 3},
    },
}


@pytest.fixture
def one_thread(
    no_inference_runtimes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def bars(found: Any, tag: str) -> dict[int, list[float]]:
    """How many filters of each layer, by epochs."""
    there = {}
    for step, (*_, content) in found["tensorboard"][tag]:
        assert step not in there
        left_right_count = torch.frombuffer(bytearray(content), dtype=torch.float64).reshape(-1, 3)
        there[step] = left_right_count[:, 2].tolist()
    return there


@pytest.mark.usefixtures("one_thread")
def test_a_run_that_is_gone_on_with_is_shown_in_whole() -> None:
    config = AccAwareConfig.from_dict({**CONFIG, "trackers": ["tensorboard"]})
    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        accaware.run(
            config,
            output_dir="run",
            plugin=SPEC,
            observers=[seen, Raising(1, KeyboardInterrupt())],
        )
    result = accaware.resume("run", observers=[seen])
    found = curves(Path("run", "tensorboard"))
    assert numbers(found, "tensorboard", "train/loss").keys() == {1, 2}
    assert numbers(found, "tensorboard", "train/learning_rate") == pytest.approx(
        {1: 0.05, 2: 0.025}
    )
    # By epoch where they changed, which a process that goes on tells again.
    told = [list(event.kept.values()) for event in seen.of(FiltersKnown)]
    by_epoch = bars(found, "layers/filters_kept")
    assert list(by_epoch.values()) == [told[0], told[-1]]
    assert result.model is not None
    sizes = [layer.filters for layer in result.model.layers if layer.filters]
    (handed_over,) = bars(found, "layers/filters_kept/handed_over").values()
    assert handed_over == [size.compressed for size in sizes] == by_epoch[2]
    (dense,) = bars(found, "layers/filters_kept/dense").values()
    assert dense == [size.dense for size in sizes]
    ((_, (names, _)),) = found["tensorboard"]["layers/names"]
    assert names == b"- 0: 0\n- 1: 3\n"

    # Of a run that has ended a tracker can be told later; one that isn't asked for is left alone.
    shutil.rmtree(Path("run", "tensorboard"))
    accaware.resume("run", trackers=())
    assert not Path("run", "tensorboard").exists()
    ended = CliRunner().invoke(app, ["run", "--resume", "run", "--track", "tensorboard"])
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert curves(Path("run", "tensorboard")) == found
    # The run's own config is the one that names it.
    shutil.rmtree(Path("run", "tensorboard"))
    CliRunner().invoke(app, ["run", "--resume", "run"])
    assert curves(Path("run", "tensorboard")) == found


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_one_that_isnt_installed_is_told_before_the_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)
    told = f'{name} is not installed; it comes with: pip install "accaware[{name}]"'
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**CONFIG, "plugin": SPEC}))
    ended = CliRunner().invoke(app, ["run", str(file), "--track", name])
    assert (ended.exit_code, ended.stderr) == (2, f"error: {told}\n")
    file.write_text(json.dumps({**CONFIG, "trackers": [name]}))
    ended = CliRunner().invoke(app, ["validate-config", str(file)])
    assert ended.exit_code == 2
    assert f"trackers: {told}" in ended.stdout
    with pytest.raises(MissingExtraError, match="is not installed"):
        accaware.run(str(file), plugin=SPEC)
    assert list(tmp_path.iterdir()) == [file]
    # Without it, all is well.
    assert (
        CliRunner().invoke(app, ["validate-config", str(file), "--set", "trackers=[]"]).exit_code
        == 0
    )


def test_a_tracker_that_there_isnt_is_a_fault_of_the_config(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**CONFIG, "plugin": SPEC}))
    ended = CliRunner().invoke(app, ["run", str(file), "--track", "tensorbord"])
    assert ended.exit_code == 2
    assert "trackers" in ended.stderr
    assert "tensorboard or mlflow" in ended.stderr
