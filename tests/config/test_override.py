"""`--set KEY=VALUE`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accaware.config.load import examine_text
from tests.config.samples import pruning

PATIENCE = "accuracy_aware_training.params.patience_epochs"


def _load(directory: Path, *overrides: str, as_list: bool = False):
    data = pruning()
    if as_list:
        data["compression"] = [data["compression"]]
    return examine_text(json.dumps(data), "config.json", directory, overrides).require()


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("key", ["compression.params", "compression[0].params"])
def test_one_algorithm_is_reached_with_and_without_an_index(tmp_path, key, as_list):
    config = _load(tmp_path, f"{key}.pruning_steps=7", as_list=as_list)
    assert config.compression[0].params.pruning_steps == 7


def test_values_are_json_or_else_bare_strings(tmp_path):
    config = _load(
        tmp_path,
        f"{PATIENCE}=4",
        "device=cpu",
        "plugin=other/plugin.py:Mine",
        'metric.name="mean IoU"',
        "compression.params.all_weights=true",
        'compression.ignored_scopes=["a", "b"]',
        "plugin_args.deep.er=null",
    )
    assert config.accuracy_aware_training.patience_epochs == 4
    assert config.device == "cpu"
    assert config.plugin == f"{tmp_path}/other/plugin.py:Mine"
    assert config.metric.name == "mean IoU"
    assert config.compression[0].params.all_weights is True
    assert config.compression[0].ignored_scopes == ("a", "b")
    assert config.plugin_args == {"deep": {"er": None}}


def test_the_last_of_several_wins(tmp_path):
    assert _load(tmp_path, "seed=1", "seed=2").seed == 2


def test_it_can_put_right_what_the_file_has_wrong(check):
    text = json.dumps(pruning() | {"seed": 1}).replace('"seed": 1', '"seed": NaN')
    assert check(text, "seed=3") == []


WRONG = [
    (f"{PATIENCE}=1.5", PATIENCE, "1.5 is not an integer"),
    (f"{PATIENCE}=soon", PATIENCE, '"soon" is not an integer'),
    ("compression[0].pruning_init=0.9", "compression.pruning_init", "0.9 is above pruning_target"),
    ("compression[3].pruning_init=0.1", "compression[3]", "leads nowhere"),
    ("seed.x=1", "seed.x", "leads nowhere: seed is a single value"),
    ("batch_sise=3", "batch_sise", "did you mean batch_size?"),
    ("seed=NaN", "seed", "NaN is not a number that a config can hold"),
    ("seed=1e999", "seed", "is too large for a number"),
    ("metric={", "metric", "but the text ends"),
    ("seed", "", "is not KEY=VALUE"),
    ("=3", "", "is not KEY=VALUE"),
    ("a..b=3", "", "is not KEY=VALUE"),
    ("[0]=3", "", "is not KEY=VALUE"),
    ("metric.better=1", "metric.better", "is not a known key"),
]


@pytest.mark.parametrize(("option", "path", "message"), WRONG)
def test_an_error_in_it_points_at_the_option(check, option, path, message):
    (one,) = check(pruning() | {"seed": 1}, option)
    assert (one.file, one.line) == (f"--set {option}", None)
    assert one.path.startswith(path)
    assert message in one.message
