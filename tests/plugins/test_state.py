"""What a plugin remembers, and which code it is."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from accaware.errors import PluginFailure
from accaware.plugins.contract import contract_faults
from accaware.plugins.load import load_plugin
from accaware.plugins.plugin import Plugin
from accaware.plugins.plugin_state import PluginState
from accaware.plugins.provenance import Provenance, git_commit, source_digest, source_file


class Counter:
    """Something with a state, as a gradient scaler is."""

    def __init__(self, count: int) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


class Stateless:
    def __init__(self, count: int = 0) -> None:
        self.scaler = Counter(count)

    def create_model(self) -> None: ...

    def create_datasets(self) -> None: ...


class Stateful(Stateless):
    best = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


@pytest.mark.parametrize("kind", [Stateless, Stateful])
def test_a_plugins_state_and_its_members_come_back(kind: type[Stateless]) -> None:
    before, after = kind(3), kind()
    before.best = 0.7  # type: ignore[attr-defined]
    state = PluginState(Plugin("p", before), Counter).state_dict()
    PluginState(Plugin("p", after), Counter).load_state_dict(state)
    assert after.scaler.count == 3
    assert getattr(after, "best", None) == (0.7 if kind is Stateful else None)


def test_a_state_dict_that_raises_is_the_plugins_failure() -> None:
    plugin = Stateful()
    del plugin.scaler
    plugin.state_dict = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(PluginFailure, match="state_dict raised ZeroDivisionError"):
        PluginState(Plugin("p", plugin), Counter).state_dict()


def test_one_half_of_the_state_is_a_fault() -> None:
    class Half(Stateless):
        def state_dict(self) -> dict[str, Any]:
            return {}

    assert contract_faults(Stateful()) == []
    assert contract_faults(Half()) == [
        "missing: load_state_dict(state) -> None; its counterpart is there"
    ]


SOURCE = "def create_model(): ...\ndef create_datasets(): ...\n"


@pytest.mark.parametrize("spec", ["mine.py", "accaware.plugins.load", "json:loads"])
def test_the_source_file(tmp_path: Path, spec: str) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    file = source_file(spec, tmp_path)
    assert file is not None
    assert file.is_file()
    assert file.stem in {"mine", "load", "__init__"}


def test_a_change_of_the_source_changes_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    load_plugin("mine.py", {}, tmp_path)
    assert source_file("mine.py", tmp_path) == file
    before = source_digest(file)
    file.write_text(SOURCE + "# changed")
    assert source_digest(file) != before
    assert source_digest(None) is None


def test_the_commit_of_the_plugins_folder(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    assert git_commit(None) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert git_commit(file) is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "one"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert git_commit(file) == head.stdout.strip()


def test_a_plugin_is_its_own_file_whatever_its_arguments_look_like(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    pass\n")
    arguments = {"network": "nowhere.py:Net"}
    digest = Provenance.of_spec("mine.py:Mine", arguments, tmp_path).digest
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text("class Mine:\n    changed = True\n")
    assert Provenance.of_spec("mine.py:Mine", arguments, tmp_path).digest != digest
