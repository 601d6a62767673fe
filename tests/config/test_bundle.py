"""`accaware schema`: one schema that says of a config's structure what the checker says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator

from accaware.config.schema.json_schema import bundled
from tests.config.samples import pruning, sparsity

BUNDLE = bundled()
AAT = "accuracy_aware_training"


def _quantization(**keys: Any) -> dict[str, Any]:
    section = {"algorithm": "quantization", **keys}
    return pruning(early_exit=True) | {"compression": section}


def _with(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    here = data
    for parent in parents:
        here = here.setdefault(parent, {})
    here[last] = value
    return data


def _without(data: dict[str, Any], path: str) -> dict[str, Any]:
    *parents, last = path.split(".")
    here = data
    for parent in parents:
        here = here[parent]
    del here[last]
    return data


def _preset() -> dict[str, Any]:
    data = _without(pruning(), f"{AAT}.params.initial_training_phase_epochs")
    return _with(data, f"{AAT}.preset", "recommended")


RIGHT = {
    "pruning": pruning(),
    "early exit": pruning(early_exit=True),
    "sparsity": sparsity(schedule="adaptive"),
    "a list": pruning() | {"compression": [pruning()["compression"]]},
    "names in any case": _with(pruning(), "compression.params.filter_importance", "l1"),
    "an optimizer in any case": pruning()
    | {"optimizer": {"type": "adam", "optimizer_params": {"betas": [0.9, 0.99]}}},
    "an alias": _with(pruning(), "input_infos", [{"sample_size": [1, 3]}]),
    "sample keys": pruning() | {"model": "resnet18", "epochs": 3, "weighing": [1, 2]},
    "an ignored key": pruning() | {"log_dir": "logs", "target_device": "NPU"},
    "an empty object for what is not supported": _quantization(params={}),
    "learned ranking": _with(
        _with(pruning(), "compression.params.interlayer_ranking_type", "learned_ranking"),
        "compression.params.legr_params",
        {"generations": 3, "max_pruning": 0.7},
    ),
    "a preset": _preset(),
    "a preset for early exit": pruning(early_exit=True)
    | {AAT: {**pruning(early_exit=True)[AAT], "preset": "recommended"}},
    "a preset and another strategy": _with(
        _with(_preset(), f"{AAT}.params.strategy", "uniform_decrease"),
        f"{AAT}.params.initial_training_phase_epochs",
        0,
    ),
    "the ramp": _without(
        _with(pruning(), f"{AAT}.params.strategy", "ramp"),
        f"{AAT}.params.initial_training_phase_epochs",
    ),
    "its schema": pruning() | {"$schema": "./accaware.schema.json"},
    "quantization": _quantization(
        preset="mixed",
        weights={"bits": 2, "mode": "asymmetric", "per_channel": False, "ignored_scopes": "a"},
        activations={"unified_scale_ops": [["a", "b"]], "signed": True},
        scope_overrides={"weights": {"any.scope": {"bits": 3, "initializer": {"range": {}}}}},
        initializer={
            "range": [{"type": "threesigma", "target_quantizer_group": "weights"}],
            "batchnorm_adaptation": {"num_bn_adaptation_samples": 0},
        },
        overflow_fix="first_layer_only",
    ),
    "distillation": _quantization()
    | {
        "compression": [
            {"algorithm": "quantization"},
            {"algorithm": "knowledge_distillation", "type": "mse", "scale": 2},
        ]
    },
}
WRONG = {
    "a type": _with(pruning(), "seed", "1"),
    "a bound": _with(pruning(), f"{AAT}.params.patience_epochs", 0),
    "an integer": _with(pruning(), f"{AAT}.params.patience_epochs", 1.5),
    "an unknown key": _with(pruning(), "colour", "red"),
    "a key of the other mode": _with(pruning(early_exit=True), f"{AAT}.params.patience_epochs", 3),
    "a key of another algorithm": _with(pruning(), "compression.params.sparsity_target", 0.3),
    "no algorithm": _without(pruning(), "compression.algorithm"),
    "no section": _without(pruning(), AAT),
    "no compression": _without(pruning(), "compression"),
    "no mode": _without(pruning(), f"{AAT}.mode"),
    "a missing key": _without(pruning(), f"{AAT}.params.patience_epochs"),
    "a key that this strategy needs": _without(
        pruning(), f"{AAT}.params.initial_training_phase_epochs"
    ),
    "a key that another strategy than the preset's needs": _with(
        _preset(), f"{AAT}.params.strategy", "uniform_decrease"
    ),
    "a preset": _with(_preset(), f"{AAT}.preset", "fast"),
    "an algorithm that is not supported": _with(pruning(), "compression.algorithm", "rb_sparsity"),
    "a wrong entry of a list": pruning() | {"compression": [{"algorithm": "filter_prun"}]},
    "an empty list": pruning() | {"compression": []},
    "a wrong name": _with(pruning(), "compression.params.filter_importance", "L3"),
    "bits": _quantization(weights={"bits": 9}),
    "precision": _quantization(initializer={"precision": {"type": "hawq"}}),
    "staged": _quantization(params={"base_lr": 0.1}),
    "an override": _quantization(scope_overrides={"weights": {"a": {"bit": 4}}}),
    "a range": _quantization(initializer={"range": [{"type": "median"}]}),
    "distillation without a type": _quantization()
    | {"compression": [{"algorithm": "quantization"}, {"algorithm": "knowledge_distillation"}]},
    "a sample key's type": pruning() | {"epochs": "many"},
    "the optimizer's parameters": pruning()
    | {"optimizer": {"type": "adam", "optimizer_params": {"momentum": 0.9}}},
    "the default optimizer's parameters": pruning()
    | {"optimizer": {"optimizer_params": {"betas": [0.9, 0.99]}}},
    "a schedule": pruning() | {"optimizer": {"schedule_type": "step", "schedule_params": {"a": 1}}},
    "learned ranking": _with(pruning(), "compression.params.legr_params", {"generations": 0}),
}


def test_it_is_a_draft_2020_12_schema_that_refers_to_nothing_outside():
    Draft202012Validator.check_schema(BUNDLE)
    assert BUNDLE["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    references = {part["$ref"] for part in _parts(BUNDLE) if "$ref" in part}
    assert references == {f"#/$defs/{name}" for name in BUNDLE["$defs"]} & references
    assert not any("oneOf" in part for part in _parts(BUNDLE))


@pytest.mark.parametrize("data", RIGHT.values(), ids=list(RIGHT))
def test_both_accept(check, data):
    assert check(data) == []
    assert list(Draft202012Validator(BUNDLE).iter_errors(data)) == []


@pytest.mark.parametrize("data", WRONG.values(), ids=list(WRONG))
def test_both_refuse(check, data):
    assert check(data) != []
    assert list(Draft202012Validator(BUNDLE).iter_errors(data)) != []


def test_every_key_is_explained():
    silent = [
        key
        for part in _parts(BUNDLE)
        for key, about in part.get("properties", {}).items()
        if set(about) & {"type", "enum", "const"} and not {"description", "title"} & set(about)
    ]
    assert silent == []


def test_an_editor_is_told_defaults_bounds_and_choices():
    params = BUNDLE["$defs"]["adaptive_compression_level"]["properties"]
    step = params["initial_compression_rate_step"]
    assert (step["default"], step["exclusiveMinimum"], step["maximum"]) == (0.1, 0, 1)
    assert "epochs" in params["patience_epochs"]["description"]
    pruning_params = BUNDLE["$defs"]["filter_pruning"]["properties"]["params"]["properties"]
    assert pruning_params["schedule"]["enum"] == [
        "baseline",
        "exponential",
        "exponential_with_bias",
    ]


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """Every object within, but for the conditions of if/then."""
    if isinstance(part, list):
        for entry in part:
            yield from _parts(entry)
    if isinstance(part, dict):
        yield part
        for key, value in part.items():
            if key != "if":
                yield from _parts(value)


def test_it_prints_as_json():
    assert json.loads(json.dumps(BUNDLE)) == BUNDLE
