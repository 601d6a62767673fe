"""``accaware inspect`` as its user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.e2e.conftest import Accaware, own_config

Inspect = Callable[..., Result]


@pytest.fixture
def inspect(accaware: Accaware) -> Inspect:
    return partial(accaware, "inspect")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_tells_in_plain_text_and_leaves_no_file(inspect: Inspect, tmp_path: Path) -> None:
    config = own_config(tmp_path)
    before = files(tmp_path)
    done = inspect(config, "--samples", "20")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert text.startswith("Sequential on cpu: 2514 parameters")
    assert "filter_pruning: rates up to 92.9 % of the filters" in text
    assert "Can be compressed: 2 groups" in text
    assert "Not compressed: 1 layer" in text
    assert "13 steps an epoch" in text
    assert "nothing trained, on 20 validation samples" in text
    assert "\x1b" not in done.output
    assert files(tmp_path) == before
    assert not (tmp_path / "runs").exists()


def test_json_has_standard_output_for_itself(inspect: Inspect, tmp_path: Path) -> None:
    config = own_config(tmp_path)
    plugin = tmp_path / "mine.py"
    plugin.write_text('print("hello from the import")\n' + plugin.read_text())
    done = inspect(config, "--json", "--set", "compression.params.pruning_target=0.2")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert "hello from the import" in done.stderr
    assert found["sensitivity"] is None
    assert found["maximal_rate"] == pytest.approx(26 / 28)
    assert [layer["name"] for layer in found["layers"]] == list("0123456")
    assert [part["layers"] for part in found["parts"]] == [["0"], ["2"]]
    assert found["left_out"] == [["6", "its channels are the model's output"]]
    assert [cost["rate"] for cost in found["training"][:4]] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({}, ("--samples", "0"), 2, "--samples 0 is below the minimum 1"),
        ({}, ("--set", "seed=x"), 2, 'seed: "x" is not an integer'),
        ({}, ("--device", "mps"), 2, "device 'mps' is not available"),
        ({"plugin": None}, (), 2, "there is no plugin"),
        ({}, ("--plugin", "other.py"), 2, "there is no file"),
        ({"plugin_args": {"fails_in": 1}}, (), 1, "ArithmeticError: the user's own reason"),
        (
            {"compression": {"algorithm": "filter_pruning", "ignored_scopes": ["stem"]}},
            (),
            2,
            "matches no module",
        ),
    ],
)
def test_what_is_wrong_is_one_message(
    inspect: Inspect,
    tmp_path: Path,
    changes: dict[str, Any],
    options: Sequence[str],
    code: int,
    message: str,
) -> None:
    config = own_config(tmp_path)
    content = {**json.loads(config.read_text()), **changes}
    if "compression" in changes:
        content["compression"]["params"] = {"schedule": "baseline"}
    config.write_text(json.dumps({key: value for key, value in content.items() if value}))
    done = inspect(config, *options)
    assert done.exit_code == code, done.output
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
    if code == 2:
        assert "Traceback" not in done.output
