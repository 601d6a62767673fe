"""Several processes that train one model: the first decides, and all load."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from torch import distributed

from tests.pytorch.training.one_of_several import LENGTHS, MESSAGES
from tests.runners.processes import run_script

WORLD = 2
ALGORITHMS = (
    "filter_pruning",
    "filter_pruning_by_gradients",
    "magnitude_sparsity",
    "learned_ranking_in_8_bits",
    "averaged_weights",
    "confirmed",
    "reconstruction",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the processes told of each algorithm: they take their time to begin."""
    folder = tmp_path_factory.mktemp("together")
    script = "tests.pytorch.training.one_of_several"
    run_script(script, str(WORLD), str(folder), *ALGORITHMS, MESSAGES)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


@pytest.mark.skipif(
    not (distributed.is_available() and hasattr(os, "fork")), reason="there are no processes"
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_process_decides_and_all_load(algorithm: str, told: list[dict[str, Any]]) -> None:
    first, second = (each[algorithm] for each in told)
    assert len(first["result"]) > 1
    assert first["metric"] is not None
    for what in (
        "result",
        "budget",
        "metric",
        "rate",
        "weights",
        "loaded",
        "coefficients",
        "confirmation",
    ):
        assert first[what] == second[what], what
    assert len(first["epochs"]) > 2
    decided = ("layout", "ranges", "weights")
    before = None
    for mine, theirs in zip(first["epochs"], second["epochs"], strict=True):
        assert [mine[part] for part in decided] == [theirs[part] for part in decided]
        # Statistics are adapted where the model has changed; then each trains on data of its own.
        changed = before is None or mine["ranges"] != before["ranges"]
        if algorithm == "learned_ranking_in_8_bits" and changed:
            assert mine["statistics"] == theirs["statistics"]
        before = mine
    assert first["accuracy"] == second["accuracy"] == first["metric"]
    # The first one alone keeps anything, and the others have it all the same.
    assert first["files"]
    assert second["files"] == []
    assert first["dumped"] > 0
    assert second["dumped"] == 0
    assert set(second["loaded"]) == {"of the first process"}


def test_objects_of_any_length_arrive_whole(told: list[dict[str, Any]]) -> None:
    expected = [["0" * length, ["0" * length, "1" * (length + 7)]] for length in LENGTHS]
    assert [each[MESSAGES] for each in told] == [expected] * WORLD
