"""Real training on Ray's workers: to the bit what this process alone would have found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from accaware import AccAwareConfig
from accaware.cli.commands.run import run
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.errors import UsageError
from accaware.plugins.plugin import Plugin
from accaware.pytorch.run import build
from accaware.search.events import Event, RoundFinished, TrialStarted
from tests.ray import mixed_precision_plugin
from tests.resume import tiny_plugin
from tests.resume.test_fake_runs import timeless
from tests.resume.test_torch_runs import INT8, SEVERAL, UNSCHEDULED

PLUGIN = f"{Path(tiny_plugin.__file__)}:Likely"

CONFIG: dict[str, Any] = {
    "plugin": PLUGIN,
    "device": "cpu",
    "batch_size": 16,
    "engine": "ray",
    "accuracy_aware_training": SEVERAL,
    "compression": [
        {**UNSCHEDULED, "params": {**UNSCHEDULED["params"], "reconstruction_samples": 48}},
        *INT8[1:],
    ],
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Workers:
    def __init__(self) -> None:
        self.names: set[str | None] = set()
        self.most = 0

    def notify(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self.names.add(event.worker)
        if isinstance(event, RoundFinished):
            self.most = max(self.most, len(event.trials))


def outcome(
    folder: Path, plugin: tiny_plugin.Likely, config: dict[str, Any]
) -> tuple[Any, set[str | None]]:
    workers = Workers()
    made = build(
        AccAwareConfig.from_dict(config),
        Plugin(config["plugin"], plugin),
        checkpoints=folder,
        observers=[workers],
        ray_address="auto",
    )
    result = made.search()
    assert workers.most == 2
    made.save_model(folder.with_suffix(".pt"))
    content = torch.load(folder.with_suffix(".pt"), weights_only=True)
    model = {name: value.numpy().tobytes() for name, value in content["state_dict"].items()}
    return (repr(timeless(result)), model), workers.names


MIXES: dict[str, tuple[type[tiny_plugin.Likely], dict[str, Any], dict[str, Any]]] = {
    "pruning, int8, distillation, reconstruction, averaging": (tiny_plugin.Likely, {}, {}),
    "sparsity, mixed precision, confirmation": (
        mixed_precision_plugin.Mixed,
        {
            "plugin": "tests.ray.mixed_precision_plugin:Mixed",
            "compression": {"algorithm": "magnitude_sparsity"},
        },
        {
            "maximal_absolute_accuracy_degradation": 0.03,
            "patience_epochs": 2,
            "minimal_compression_rate_step": 0.1,
            "weight_averaging": "none",
            "confirmation": {"fraction": 0.5},
        },
    ),
}


@pytest.mark.parametrize("mix", MIXES)
def test_on_workers_the_result_is_the_same_to_the_bit(
    two_nodes: Any, tmp_path: Path, mix: str
) -> None:
    plugin, keys, params = MIXES[mix]
    training = CONFIG["accuracy_aware_training"]
    training = {**training, "params": {**training["params"], **params}}
    config = {**CONFIG, "accuracy_aware_training": training, **keys}
    alone, nobody = outcome(tmp_path / "alone", plugin(), {**config, "engine": "in_process"})
    on_ray, workers = outcome(tmp_path / "ray", plugin(), config)
    assert on_ray == alone
    assert nobody == {None}
    assert workers
    assert None not in workers


def test_a_plugin_that_is_only_here_is_told_at_once(
    two_nodes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    # As on a node that lacks what this machine has.
    check = f"import os\nassert os.getpid() == {os.getpid()}, 'not here'\n"
    file.write_text(Path(tiny_plugin.__file__).read_text() + check)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**CONFIG, "plugin": f"{file}:Likely"}))
    directory = tmp_path / "run"
    code = reported(lambda: run(config, output_dir=directory, quiet=True, ray_address="auto"))
    assert code is ExitCode.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: on a worker of the Ray cluster: importing {file} raised AssertionError: not here"
    )
    assert not directory.exists()


def test_a_plugin_that_was_handed_over_can_not_be_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="engine ray needs a plugin that its workers can import"):
        build(
            AccAwareConfig.from_dict(CONFIG),
            Plugin("<object of mine>", tiny_plugin.Likely()),
            checkpoints=tmp_path,
            observers=[],
        )
