"""Sections, algorithms and modes that stand where they don't belong: told at once, with the way."""

from __future__ import annotations

import json

import pytest

from tests.config.samples import pruning, quantization


def test_a_bare_algorithm_belongs_into_compression(check):
    data = pruning()
    data |= data.pop("compression") | {"ignored_scopes": ["conv1"]}
    (one,) = check(data)
    assert one.path == "algorithm"
    assert one.message == (
        "algorithm, params and ignored_scopes are keys of an algorithm, not of the config; put "
        'them into "compression": {"algorithm": ..., "params": ..., "ignored_scopes": ...}'
    )


def test_what_is_wrong_within_a_bare_algorithm_is_told_too(check):
    data = pruning()
    data |= data.pop("compression") | {"validate_scope": True}
    data["params"] = {"pruning_steps": 0, "pruning_target": 0.99}
    assert [one.path for one in check(data)] == [
        "algorithm",
        "params.pruning_steps",
        "params.pruning_target",
        "validate_scope",
    ]


@pytest.mark.parametrize("name", ["rb_sparsity", "no such", 3])
def test_a_bare_algorithm_that_is_none_is_told_where_it_belongs(check, name):
    data = pruning() | {"algorithm": name, "params": {}}
    del data["compression"]
    told = [one.message for one in check(data)]
    assert any('put them into "compression"' in message for message in told)


def test_an_algorithm_beside_compression_belongs_into_its_list(check):
    (one,) = check(pruning() | {"algorithm": "quantization", "preset": "mixed"})
    assert 'put them into "compression", which may be a list of objects' in one.message


@pytest.mark.parametrize("algorithms", [[{"algorithm": "filter_pruning"}], [3, {"algoritm": "x"}]])
def test_a_list_of_algorithms_belongs_into_compression(check, algorithms):
    *_, one = sorted(check(json.dumps(algorithms)), key=lambda told: told.path == "")
    assert one.path == ""
    assert 'a config is an object in braces; put this list into one, as "compression"' in (
        one.message
    )


def test_a_list_of_algorithms_can_be_pasted_as_it_says(check):
    algorithms = json.dumps([{"algorithm": "filter_pruning"}])
    (one,) = check(algorithms)
    section = one.message.partition("beside ")[2]
    assert check(f'{{"compression": {algorithms}, {section}}}') == []


def test_what_is_wrong_within_a_list_of_algorithms_is_told_too(check):
    told = check(json.dumps([{"algorithm": "filter_pruning", "params": {"pruning_steps": 0}}]))
    assert sorted(one.path for one in told) == ["", "[0].params.pruning_steps"]


def test_a_config_in_brackets_is_told_to_lose_them(check):
    (one,) = check(json.dumps([pruning()]))
    assert one.message.endswith("take the brackets [ ] around it away")


@pytest.mark.parametrize("data", [[], [1, 2], 3, "filter_pruning", None])
def test_what_is_no_config_at_all_is_told_to_be_one(check, data):
    (one,) = check(json.dumps(data))
    assert one.message.startswith("a config is an object in braces, not ")


def test_a_mode_among_its_params_hides_nothing(check):
    data = quantization(weights={"bits": 99})
    data["accuracy_aware_training"] = {
        "params": {"maximal_total_epochs": 0, "mode": "early_exit", "patience_epochs": 3}
    }
    assert {one.path for one in check(data)} == {
        "accuracy_aware_training.mode",
        "accuracy_aware_training.params",
        "accuracy_aware_training.params.maximal_total_epochs",
        "accuracy_aware_training.params.mode",
        "accuracy_aware_training.params.patience_epochs",
        "compression.weights.bits",
    }


@pytest.mark.parametrize("mode", [None, 3, "something"])
def test_without_a_mode_the_keys_tell_which_params_are_meant(check, mode):
    data = pruning()
    data["accuracy_aware_training"]["mode"] = mode
    data["accuracy_aware_training"]["params"]["maximal_compression_rate"] = 7
    assert {one.path for one in check(data)} == {
        "accuracy_aware_training.mode",
        "accuracy_aware_training.params.maximal_compression_rate",
    }


def test_an_algorithm_among_its_params_hides_nothing(check):
    data = pruning()
    data["compression"] = {"params": {"algorithm": "filter_pruning", "pruning_steps": 0}}
    assert [one.path for one in check(data)] == [
        "compression.params.algorithm",
        "compression.params.pruning_steps",
    ]
