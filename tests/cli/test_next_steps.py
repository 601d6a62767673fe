"""A run's last lines: what to do next, as commands that work."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import pytest
from click.testing import Result

from accaware.api.lifecycle.run_lifecycle import conduct
from accaware.api.listener import PythonListener
from accaware.config.load import AccAwareConfig
from accaware.results import strict_json
from accaware.rundir.directory import RunDirectory
from accaware.rundir.manifest import Manifest
from accaware.search import AdaptiveParams
from tests.cli.conftest import Call
from tests.cli.scripted_run import starting
from tests.cli.test_app import GOOD
from tests.cli.test_app import config as config_file
from tests.runners.fake import Script, adaptive, holds_up_to

PARAMS = "accuracy_aware_training.params"


@pytest.fixture
def ended(call: Call, tmp_path: Path) -> Ended:
    return Ended(call, tmp_path)


class Ended:
    """A run of a scripted model that has ended, told again by ``accaware run --resume``."""

    def __init__(self, call: Call, folder: Path) -> None:
        self._call = call
        self._folder = folder
        self.directory = RunDirectory.create(folder / "my run")

    def search(self, metric: Script, params: AdaptiveParams | None = None) -> None:
        """Search, and leave the files of a run."""
        resolved = AccAwareConfig.from_json(config_file(self._folder / "c.json")).to_dict()
        self.directory.config.write_text(strict_json.document(resolved))
        Manifest(
            versions={},
            device="cpu",
            hardware=None,
            seed=0,
            config={
                key: value
                for key, value in resolved.items()
                if key not in ("download", "report", "trackers")
            },
            plugin="plugin.py",
            plugin_digest=None,
            plugin_commit=None,
        ).write(self.directory.manifest)
        conduct(starting(metric, params), self.directory, "top1", PythonListener(False))

    def told(self, *options: str) -> Result:
        """What the command says of it."""
        return self._call("run", "--resume", "my run", *options, cwd=self._folder)

    def steps(self) -> dict[str, list[str]]:
        """The words of each command behind the last blank line, by what it is for."""
        lines = self.told().stdout.rpartition("\n\n")[2].splitlines()
        return {
            purpose: shlex.split(command)
            for purpose, _, command in (line.partition(":") for line in lines)
        }


COARSE = adaptive(minimal_compression_rate_step=0.1)


def test_a_model_within_budget_is_to_be_deployed_timed_and_looked_at(ended: Ended) -> None:
    ended.search(holds_up_to(0.65), COARSE)
    steps = ended.steps()
    form = steps["to deploy it"].pop()
    assert form in ("onnx", "torch-export")
    assert steps == {
        "to deploy it": ["accaware", "export", "my run", "--format"],
        "to time it": ["accaware", "benchmark", "my run"],
        "to look at the run": ["accaware", "report", "my run", "--open"],
    }


def test_what_isnt_installed_is_not_named(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    ended.search(holds_up_to(0.65), COARSE)
    monkeypatch.setattr("accaware.cli.next_steps.find_spec", lambda name: None)
    assert ended.steps()["to deploy it"][-1] == "torch-export"


def test_what_is_exported_already_is_not_to_be_exported(ended: Ended) -> None:
    ended.search(holds_up_to(0.65), COARSE)
    ended.directory.exports.mkdir()
    (ended.directory.exports / "model.onnx").touch()
    assert set(ended.steps()) == {"to time it", "to look at the run"}


def test_a_best_effort_has_another_try(ended: Ended) -> None:
    ended.search(lambda rate, age: 1 - rate / 2 - rate / 30, adaptive(minimal_compression_rate=0.3))
    config = str(Path("my run/config.json"))
    assert ended.steps() == {
        "to see what each trial lost": ["accaware", "report", "my run", "--open"],
        "to see what each layer costs": ["accaware", "inspect", config, "--samples", "500"],
        "to train for longer": ["accaware", "run", config, "--set", f"{PARAMS}.patience_epochs=2"],
        "to allow what the best effort lost": [
            *("accaware", "run", config, "--set"),
            # Of a baseline of 1 that lost 0.16, in percent.
            f"{PARAMS}.maximal_relative_accuracy_degradation=16",
        ],
    }
    patience = GOOD["accuracy_aware_training"]["params"]["patience_epochs"]
    assert patience == 1, "twice of it is what is named above"


def test_epochs_that_are_spent_are_what_is_to_be_raised(ended: Ended) -> None:
    spent = adaptive(maximal_total_epochs=1, minimal_compression_rate=0.3)
    ended.search(lambda rate, age: 1 - rate, spent)
    assert ended.steps()["to train for longer"][-1] == f"{PARAMS}.maximal_total_epochs=20000"


def test_where_no_trial_could_be_judged_no_budget_is_named(ended: Ended) -> None:
    ended.search(lambda rate, age: math.nan)
    assert set(ended.steps()) == {
        "to see what each trial lost",
        "to see what each layer costs",
        "to train for longer",
    }


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_whoever_wants_no_words_gets_none(ended: Ended, option: str) -> None:
    ended.search(holds_up_to(0.65), COARSE)
    assert "accaware benchmark" in ended.told().output
    assert "accaware benchmark" not in ended.told(option).output
