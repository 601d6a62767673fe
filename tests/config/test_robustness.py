"""Whatever is thrown at it, a config is loaded or refused in words."""

from __future__ import annotations

import itertools
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accaware.config.load import AccAwareConfig, examine_bytes, examine_text
from accaware.errors import ConfigError
from tests.config.mutants import large_mutants, mutants, violation
from tests.config.samples import DOCUMENTATION, pruning, quantization, sparsity

HERE = Path()
SPLICES = [
    "",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "'",
    "/*",
    "//",
    "-",
    "NaN",
    "1e999",
    "\0",
    "é",
    "\ud800",
    "null",
    "true",
    "-1",
    "0.5",
    "1e4",
    "(",
    ")",
    "`",
    "${",
    "\\",
    "\n",
    "\u2028",
]

quick = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(st.integers(0, len(DOCUMENTATION)), st.integers(0, 12), st.sampled_from(SPLICES))
def test_a_mutated_text_never_raises(at, removed, splice):
    text = DOCUMENTATION[:at] + splice + DOCUMENTATION[at + removed :]
    outcome = examine_text(text, "config.json", HERE)
    assert (outcome.config is None) == any(one.severity == "error" for one in outcome.diagnostics)
    lines = text.count("\n") + 1
    assert all(1 <= (one.line or 1) <= lines for one in outcome.diagnostics)


@quick
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_raw_bytes_never_raise(raw):
    assert examine_bytes(raw, "-", HERE).config is None


VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-3, 200)
    | st.sampled_from([10**400, -(10**300), 1e308, 5e-324, -0.0])
    | st.floats()
    | st.sampled_from(
        ["", "exponential", "multistep", "baseline", "adaptive", "L1", "sgd", "percentile", "{re}("]
    )
    | st.lists(st.floats(0, 1) | st.integers(0, 99) | st.none(), max_size=3)
    | st.dictionaries(st.sampled_from(["params", "lr", "mode"]), st.integers(0, 3), max_size=2)
)
KEYS = st.sampled_from(
    [
        "accuracy_aware_training", "compression", "optimizer", "input_info", "metric",
        "accuracy_aware_training.mode", "accuracy_aware_training.params",
        "accuracy_aware_training.params.patience_epochs",
        "accuracy_aware_training.params.maximal_total_epochs",
        "accuracy_aware_training.params.maximal_compression_rate",
        "compression.algorithm", "compression.params", "compression.pruning_init",
        "compression.sparsity_init", "compression.params.schedule",
        "compression.params.pruning_target", "compression.params.pruning_flops_target",
        "compression.params.pruning_steps", "compression.params.sparsity_target",
        "compression.params.sparsity_target_epoch", "compression.params.multistep_steps",
        "compression.params.multistep_sparsity_levels", "compression.initializer",
        "optimizer.type", "optimizer.optimizer_params", "optimizer.schedule_params",
        "optimizer.schedule_type", "optimizer.steps", "optimizer.base_lr", "seed",
        "compression.weights", "compression.weights.bits", "compression.activations.mode",
        "compression.initializer.range", "compression.initializer.range.type",
        "compression.initializer.range.params.min_percentile", "compression.type",
        "compression.scope_overrides.weights.conv1.bits", "compression.temperature",
        "compression.ignored_scopes", "compression.validate_scopes", "target_device",
    ]
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::accaware.config.load.ConfigWarning")
@quick
@given(
    st.sampled_from(
        [
            pruning,
            sparsity,
            quantization,
            partial(pruning, early_exit=True),
            partial(sparsity, early_exit=True),
        ]
    ),
    st.lists(st.tuples(KEYS, VALUES), max_size=4),
)
def test_mutated_data_is_refused_in_words_or_survives_a_round_trip(make, changes):
    data: Any = make()
    for path, value in changes:
        *parents, last = path.split(".")
        here = data
        for parent in parents:
            here = here.setdefault(parent, {}) if isinstance(here, dict) else {}
        if isinstance(here, dict):
            here[last] = value
    try:
        config = AccAwareConfig.from_dict(data)
    except ConfigError:
        return
    assert AccAwareConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("seed", range(4))
def test_a_fault_is_told_at_its_line_and_what_is_right_is_accepted(seed):
    inputs = itertools.islice(mutants(random.Random(seed)), 150)
    assert [violation(one) for one in inputs if violation(one)] == []


def test_large_inputs_are_refused_in_words():
    inputs = large_mutants(random.Random(0), 32 * 1024)
    assert [told for told in map(violation, inputs) if told] == []


def large_config(bytes_: int) -> str:
    """A config that is right and long for its scopes and for a table of its plugin's."""
    data = pruning()
    scopes = [f"ResNet/Sequential[layer{n}]/NNCFConv2d[conv]/conv2d_0" for n in range(4000)]
    data["compression"]["ignored_scopes"] = scopes
    data |= {"plugin": "mine.py:Mine", "plugin_args": {"table": list(range(20_000))}}
    text = json.dumps(data, indent=1)
    return text + " " * (bytes_ - len(text))


def test_a_config_may_have_a_mebibyte_and_no_more():
    outcome = examine_bytes(large_config(2**20).encode(), "config.json", HERE)
    assert outcome.diagnostics == ()
    assert outcome.config is not None
    assert len(outcome.config.plugin_args["table"]) == 20_000
    outcome = examine_bytes(large_config(2**20 + 1).encode(), "config.json", HERE)
    (one,) = outcome.diagnostics
    assert one.message.startswith("is larger than 1 MiB")


def test_a_text_full_of_mistakes_is_read_to_the_thousandth():
    text = '{"plugin_args": [' + "NaN,\n" * 3000 + "]}"
    *told, last = examine_text(text, "config.json", HERE).diagnostics
    assert len(told) == 1000
    assert "what follows is not looked at" in last.message


NNCF = Path(__file__).parents[2].parent / "shared" / "nncf-configs"


@pytest.mark.skipif(not NNCF.is_dir(), reason="NNCF's configs are not there")
def test_every_config_of_nncf_is_right_or_refused_as_not_supported():
    section = {
        "mode": "early_exit",
        "params": {"maximal_relative_accuracy_degradation": 1, "maximal_total_epochs": 200},
    }
    add = f"accuracy_aware_training={json.dumps(section)}"
    loaded = 0
    for file in sorted(NNCF.glob("*.json")):
        text = file.read_text()
        overrides = () if "accuracy_aware_training" in text else (add,)
        outcome = examine_text(text, file.name, HERE, overrides)
        loaded += outcome.config is not None
        refusals = [one for one in outcome.diagnostics if one.severity == "error"]
        assert all("is not supported by this version; " in one.message for one in refusals)
        assert (outcome.config is None) == bool(refusals), file.name
    assert loaded


@pytest.mark.skipif(not NNCF.is_dir(), reason="NNCF's configs are not there")
def test_every_config_of_nncf_without_a_search_is_told_what_to_add():
    for file in sorted(NNCF.glob("*.json")):
        text = file.read_text()
        outcome = examine_text(text, file.name, HERE)
        told = [one for one in outcome.diagnostics if one.path == "accuracy_aware_training"]
        assert len(told) == ("accuracy_aware_training" not in text), file.name
        if told:
            assert told[0].suggestion is not None
            pasted = examine_text(text.replace("{", "{" + told[0].suggestion + ",", 1), "x", HERE)
            errors = [one for one in pasted.diagnostics if one.severity == "error"]
            assert all("is not supported by this version" in one.message for one in errors)
