"""Cases that are run in several processes, all of a test file's one after another."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

from tests.runners.processes import run_script

needs_processes = pytest.mark.skipif(
    not (distributed.is_available() and hasattr(os, "fork")), reason="there are no processes"
)


PRUNING = {
    "algorithm": "filter_pruning",
    "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 40}},
    "params": {"prune_first_conv": True, "prune_downsample_convs": True},
}


def config(section: Any, *, plugin: str = "Watched", **keys: Any) -> dict[str, Any]:
    """A search of two trials of two epochs each."""
    search = {
        "mode": "adaptive_compression_level",
        "params": {
            "maximal_absolute_accuracy_degradation": 90.0,
            "initial_training_phase_epochs": 0,
            "patience_epochs": 2,
            "initial_compression_rate_step": 0.3,
            "maximal_total_epochs": 4,
            **keys.pop("search", {}),
        },
    }
    return {
        "plugin": f"tests.torchrun.plugins:{plugin}",
        "batch_size": 16,
        "device": "cpu",
        "compression": section,
        "accuracy_aware_training": search,
        **keys,
    }


@dataclass(frozen=True)
class Case:
    """What became of one.

    Attributes:
        folder: with the processes' notes; ``run`` in it is the run's directory.
        codes: how each process ended.
    """

    name: str
    folder: Path
    codes: list[int]

    def said(self, rank: int) -> str:
        return (self.folder / f"out-{rank}").read_text() + self.complained(rank)

    def complained(self, rank: int) -> str:
        """What it said on standard error."""
        return (self.folder / f"err-{rank}").read_text()

    def notes(self, rank: int, key: str) -> list[Any]:
        lines = (self.folder / f"{rank}.jsonl").read_text().splitlines()
        return [note[key] for note in map(json.loads, lines) if key in note]

    @property
    def result(self) -> dict[str, Any]:
        """Without times."""
        found: dict[str, Any] = json.loads((self.folder / "run" / "result.json").read_text())
        return {key: found[key] for key in found if key not in ("seconds", "latency")}

    @property
    def events(self) -> list[dict[str, Any]]:
        """The journal as it was when these processes had ended."""
        lines = (self.folder / f"events-{self.name}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def answers(self, call: str) -> list[Any]:
        return [event["value"] for event in self.events if event.get("call") == call]


def run_cases(folder: Path, cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Case]:
    """Run each in a folder of its name, where it works; ``config`` is written there."""
    prepared: list[dict[str, Any]] = []
    for name, case in cases.items():
        place = folder / case.get("in", name)
        place.mkdir(exist_ok=True)
        arguments: dict[str, Any] = {"output_dir": str(place / "run"), **case.get("run", {})}
        if "config" in case:
            own = {key: value for key, value in case["config"].items() if value is not None}
            file = place / f"{name}.json"
            file.write_text(json.dumps(own))
            arguments["config"] = str(file)
        rest = {key: case[key] for key in ("world", "environment", "meanwhile") if key in case}
        imports = case.get("imports", [])
        prepared.append(
            {"folder": str(place), "run": arguments, "name": name, "imports": imports, **rest}
        )
    list_of_cases = folder / "cases.json"
    list_of_cases.write_text(json.dumps(prepared))
    print(run_script("tests.torchrun.forked", str(list_of_cases)))
    ended = {}
    for case in prepared:
        name, place = case["name"], Path(case["folder"])
        codes = json.loads((place / f"ended-{name}.json").read_text())
        ended[name] = Case(name, place, codes)
    return ended


Cases = Mapping[str, Case]
