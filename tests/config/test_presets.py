"""`preset` beside `mode`: keys that count where the config doesn't give them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from accaware.config import AccAwareConfig, AdaptiveParams, FilterPruningConfig
from accaware.config.model.presets import PRESETS, Preset
from accaware.config.schema.catalog import properties, schema
from accaware.errors import ConfigError
from tests.config.samples import Data

AAT = "accuracy_aware_training"
PARAMS = f"{AAT}.params"
PRUNING: Data = {"algorithm": "filter_pruning"}
SPARSITY: Data = {"algorithm": "magnitude_sparsity"}
QUANTIZATION: Data = {"algorithm": "quantization"}
TEACHER: Data = {"algorithm": "knowledge_distillation", "type": "mse", "scale": 9.0}


def preset(*compression: Data, early_exit: bool = False, **params: Any) -> Data:
    mode = "early_exit" if early_exit else "adaptive_compression_level"
    needed = {"maximal_total_epochs": 120} if early_exit else {"patience_epochs": 5}
    own = {"maximal_relative_accuracy_degradation": 1.0, **needed, **params}
    section = {"mode": mode, "preset": "recommended", "params": own}
    return copy.deepcopy({AAT: section, "compression": [*(compression or (PRUNING,))]})


def resolved(data: Data) -> tuple[Data, dict[str, Data]]:
    """What a config comes to: the search's params, and the algorithms by name."""
    whole = AccAwareConfig.from_dict(data).to_dict()
    return whole[AAT]["params"], {one["algorithm"]: one for one in whole["compression"]}


def adaptation(algorithm: Data) -> int | None:
    found = algorithm.get("initializer", {}).get("batchnorm_adaptation", {})
    samples: int | None = found.get("num_bn_adaptation_samples")
    return samples


def test_the_schema_names_the_presets_that_there_are():
    assert properties(schema(AAT))["preset"]["enum"] == list(PRESETS)


@pytest.mark.parametrize("algorithm", [PRUNING, SPARSITY])
def test_it_stands_for_the_ramp_averaging_adaptation_and_distillation(algorithm):
    params, algorithms = resolved(preset(algorithm))
    assert (params["strategy"], params["weight_averaging"]) == ("ramp", "polynomial")
    assert adaptation(algorithms[algorithm["algorithm"]]) == 512
    reconstructed = 512 if algorithm is PRUNING else None
    assert (
        algorithms[algorithm["algorithm"]]["params"].get("reconstruction_samples") == reconstructed
    )
    assert algorithms["knowledge_distillation"] == {
        "algorithm": "knowledge_distillation",
        "type": "auto",
        "scale": 2.33,
        "temperature": 2.0,
    }


def test_early_exit_has_no_strategy():
    params, algorithms = resolved(preset(PRUNING, SPARSITY, early_exit=True))
    assert params["weight_averaging"] == "polynomial"
    assert "strategy" not in params
    assert [adaptation(algorithms[one["algorithm"]]) for one in (PRUNING, SPARSITY)] == [512, 512]
    assert "knowledge_distillation" in algorithms


def test_quantization_gets_no_adaptation_of_its_own():
    _, algorithms = resolved(preset(QUANTIZATION, early_exit=True))
    assert adaptation(algorithms["quantization"]) is None


def test_without_it_nothing_is_added():
    data = preset(initial_training_phase_epochs=0)
    del data[AAT]["preset"]
    params, algorithms = resolved(data)
    assert (params["strategy"], params["weight_averaging"]) == ("uniform_decrease", "none")
    assert algorithms.keys() == {"filter_pruning"}
    assert adaptation(algorithms["filter_pruning"]) is None


def test_each_key_that_is_given_overrides_it_alone():
    data = preset({**PRUNING, "initializer": {"batchnorm_adaptation": {}}}, TEACHER)
    data[AAT]["params"]["weight_averaging"] = "none"
    params, algorithms = resolved(data)
    assert (params["strategy"], params["weight_averaging"]) == ("ramp", "none")
    assert adaptation(algorithms["filter_pruning"]) == 512
    assert algorithms["knowledge_distillation"] == TEACHER

    samples = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}
    data = preset({**PRUNING, "initializer": samples}, strategy="uniform_decrease")
    data[AAT]["params"]["initial_training_phase_epochs"] = 0
    params, algorithms = resolved(data)
    assert (params["strategy"], params["weight_averaging"]) == ("uniform_decrease", "polynomial")
    assert adaptation(algorithms["filter_pruning"]) == 0
    assert algorithms["knowledge_distillation"]["type"] == "auto"


WHOLE = {
    "pruning": preset(),
    "sparsity": preset(SPARSITY),
    "one object": preset() | {"compression": PRUNING},
    "a mix": preset(PRUNING, QUANTIZATION),
    "early exit": preset(SPARSITY, PRUNING, QUANTIZATION, early_exit=True),
    "another teacher": preset(PRUNING, TEACHER),
    "another strategy": preset(strategy="uniform_decrease", initial_training_phase_epochs=0),
    "a learning rate that is sought": preset(trial_learning_rate="search"),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=list(WHOLE))
def test_what_it_stands_for_can_be_written_out_and_gives_the_same_config(check, data):
    assert check(data) + check(data, warnings=True) + check(data, severity="note") == []
    config = AccAwareConfig.from_dict(data)
    written = json.loads(json.dumps(config.to_dict()))
    assert "preset" not in written[AAT]
    assert check(written) + check(written, warnings=True) == []
    assert AccAwareConfig.from_dict(written) == config


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("recomended", '"recomended" is not recommended; did you mean recommended?'),
        ("fast", '"fast" is not recommended'),
        (3, "3 is not recommended"),
        (None, "null is not recommended"),
    ],
)
def test_an_unknown_one_is_one_error(check, value, message):
    data = preset()
    data[AAT]["preset"] = value
    (one,) = check(data)
    assert (one.path, one.message) == (f"{AAT}.preset", message)


def test_its_key_misspelt_or_misplaced_is_one_error(check):
    data = preset()
    data[AAT]["prest"] = data[AAT].pop("preset")
    (one,) = check(data)
    assert (one.path, one.suggestion) == (f"{AAT}.prest", "preset")
    data = preset(initial_training_phase_epochs=0, preset="recommended")
    del data[AAT]["preset"]
    (one,) = check(data)
    assert one.suggestion == f"{AAT}.preset"


def test_a_misspelling_of_what_it_stands_for_is_told_with_the_key_that_was_meant(check):
    (one,) = check(preset(strateg="uniform_decrease"))
    assert (one.path, one.suggestion) == (f"{PARAMS}.strateg", "strategy")
    (one,) = check(preset({**PRUNING, "initialiser": {}}))
    assert (one.path, one.suggestion) == ("compression[0].initialiser", "initializer")


@pytest.mark.parametrize("wrong", [3, None, []])
def test_what_is_wrong_in_its_place_is_one_error(check, wrong):
    (one,) = check(preset({**PRUNING, "initializer": wrong}))
    assert one.path == "compression[0].initializer"
    (one,) = check(preset({**PRUNING, "initializer": {"batchnorm_adaptation": wrong}}))
    assert one.path == "compression[0].initializer.batchnorm_adaptation"


def test_an_algorithm_that_is_none_is_no_reason_to_speak_of_distillation(check):
    (one,) = check(preset({"algorithm": "filter_prunin"}))
    assert one.path == "compression[0].algorithm"
    (one,) = check(preset(QUANTIZATION))
    assert "searches the level of filter_pruning or magnitude_sparsity, and quantization has" in (
        one.message
    )
    assert [each.path for each in check(preset() | {"compression": []})] == ["compression"]


# Faults that arise from it --------------------------------------------------------------


def test_a_fault_of_a_key_that_it_stands_for_points_at_it(check, monkeypatch):
    lowest = {"minimal_compression_rate": 0.9}
    monkeypatch.setitem(
        PRESETS, "recommended", Preset(params={"adaptive_compression_level": lowest})
    )
    data = preset(maximal_compression_rate=0.8, initial_training_phase_epochs=0)
    (one,) = check(data)
    assert one.path == f"{AAT}.preset"
    assert one.message == (
        f"stands for {PARAMS}.minimal_compression_rate: 0.9 is above maximal_compression_rate 0.8"
    )
    assert one.source is not None
    assert '"preset"' in one.source


def test_a_key_of_it_that_would_be_without_effect_is_left_out(check, monkeypatch):
    keys = {"polish": True, "strategy": "ramp"}
    coupled = {"params": {"coupled_importance": "sum"}}
    monkeypatch.setitem(
        PRESETS,
        "recommended",
        Preset(
            params={"adaptive_compression_level": keys},
            algorithms={"filter_pruning": coupled},
        ),
    )
    params, _ = resolved(preset())
    assert params["polish"] is True

    data = preset(strategy="uniform_decrease", initial_training_phase_epochs=0)
    assert check(data) + check(data, warnings=True) == []
    params, algorithms = resolved(data)
    assert "polish" not in params
    assert "coupled_importance" not in algorithms["filter_pruning"]["params"]
    _, algorithms = resolved(preset({**PRUNING, "params": {"all_weights": True}}))
    assert algorithms["filter_pruning"]["params"]["coupled_importance"] == "sum"


# Keys that the ramp doesn't use ---------------------------------------------------------

UNUSED = {
    "initial_training_phase_epochs": 3,
    "initial_compression_rate_step": 0.2,
    "compression_rate_step_reduction_factor": 0.4,
    "lr_reduction_factor": 0.4,
    "stop_trial_when_within_budget": True,
}


def ramp(**params: Any) -> Data:
    data = preset(strategy="ramp", **params)
    del data[AAT]["preset"]
    return data


@pytest.mark.parametrize(("key", "value"), UNUSED.items())
def test_a_key_that_the_ramp_does_not_use_is_a_warning(check, recwarn, key, value):
    why = "is ignored: it counts where strategy is uniform_decrease, not ramp"
    data = ramp(**{key: value})
    assert check(data) == []
    (one,) = check(data, warnings=True)
    assert (one.path, one.message) == (f"{PARAMS}.{key}", why)
    (one,) = check(preset(**{key: value}), warnings=True)
    assert (one.path, one.message) == (f"{PARAMS}.{key}", f"{why} (by the preset)")
    assert AccAwareConfig.from_dict(data) == AccAwareConfig.from_dict(ramp())
    assert not UNUSED.keys() & resolved(ramp())[0].keys()


@pytest.mark.parametrize(
    ("data", "by"), [(ramp(), "strategy ramp"), (preset(), "strategy ramp (by the preset)")]
)
def test_nothing_follows_a_schedule_under_the_ramp(check, data, by):
    data["compression"] = {**PRUNING, "pruning_init": 0.1, "params": {"pruning_target": 0.97}}
    assert check(data) == []
    (one,) = check(data, warnings=True)
    assert one.path == "compression.pruning_init"
    assert one.message == (
        f"pruning_init and pruning_target are ignored: with {by} there is no initial phase, "
        "which alone follows the schedule"
    )


def test_the_ramp_has_no_first_step_to_compare_with(check):
    assert check(ramp(minimal_compression_rate_step=0.2)) == []


@pytest.mark.parametrize("params", [{}, {"strategy": "uniform_decrease"}])
def test_uniform_decrease_needs_its_initial_phase(check, params):
    data = preset(**params)
    if not params:
        del data[AAT]["preset"]
    (one,) = check(data)
    assert one.path == f"{PARAMS}.initial_training_phase_epochs"
    assert one.message == (
        "is missing: epochs to train with the schedule of the compression section; 0 begins with "
        "the first step instead"
    )


def test_where_the_strategy_is_wrong_nothing_is_told_of_what_depends_on_it(check):
    data = ramp(trial_learning_rate="search")
    data[AAT]["params"]["strategy"] = "rampp"
    assert [one.path for one in check(data)] == [f"{PARAMS}.strategy"]
    data[AAT]["params"]["strateg"] = "ramp"
    del data[AAT]["params"]["strategy"]
    assert [one.path for one in check(data)] == [f"{PARAMS}.strateg"]


@pytest.mark.parametrize("strategy", ["ramp", "uniform_decrease"])
def test_a_learning_rate_is_sought_by_either_strategy(check, strategy):
    data = preset(strategy=strategy, initial_training_phase_epochs=0, trial_learning_rate="search")
    assert check(data) == []


@pytest.mark.parametrize(("word", "meant"), [("serch", "; did you mean search?"), ("faster", "")])
def test_a_learning_rate_that_is_no_word_of_these_is_refused(check, word, meant):
    (one,) = check(ramp(trial_learning_rate=word))
    assert one.path == f"{PARAMS}.trial_learning_rate"
    assert one.message == (
        f'"{word}" is not as_configured, cosine, search or a number above 0{meant}'
    )


def test_a_config_made_in_python_needs_an_initial_phase_for_uniform_decrease_alone():
    budget = {"maximal_relative_accuracy_degradation": 1.0, "patience_epochs": 5}
    made = AccAwareConfig(
        accuracy_aware_training=AdaptiveParams(**budget, strategy="ramp"),
        compression=(FilterPruningConfig(),),
    )
    assert AccAwareConfig.from_dict(made.to_dict()) == made
    with pytest.raises(ConfigError, match="initial_training_phase_epochs: is missing"):
        AccAwareConfig(
            accuracy_aware_training=AdaptiveParams(**budget), compression=(FilterPruningConfig(),)
        )


# Distillation of type auto --------------------------------------------------------------


def test_auto_is_a_type_and_has_a_temperature(check):
    teacher = {"algorithm": "knowledge_distillation", "type": "auto", "temperature": 3.0}
    data = ramp() | {"compression": [PRUNING, teacher]}
    assert check(data) + check(data, warnings=True) == []
    assert resolved(data)[1]["knowledge_distillation"] == {**teacher, "scale": 1.0}


def test_a_type_is_needed_where_distillation_is_given(check):
    (one,) = check(preset(PRUNING, {"algorithm": "knowledge_distillation"}))
    assert one.path == "compression[1].type"
    assert one.message == "is missing; it is mse, softmax, kl or auto"
