"""Rules across keys: one row a rule. The numbers of both sides are in the message."""

from __future__ import annotations

from typing import Any

import pytest

from accaware import AccAwareConfig
from accaware.config.dump import dump
from accaware.config.load import ConfigWarning
from accaware.config.model.schedule import schedule_of
from accaware.search.schedules.schedules import Baseline
from tests.config.samples import pruning, quantization, sparsity

PARAMS = "accuracy_aware_training.params"
PRUNING = "compression.params"


def _pruning(search: dict[str, Any], *, early_exit: bool = False, init: Any = None, **params: Any):
    data = pruning(early_exit=early_exit)
    data["accuracy_aware_training"]["params"].update(search)
    data["compression"]["params"].update(params)
    if init is not None:
        data["compression"]["pruning_init"] = init
    return data


def _sparsity(search: dict[str, Any], *, early_exit: bool = False, init: Any = None, **params: Any):
    data = sparsity(early_exit=early_exit, **params)
    data["accuracy_aware_training"]["params"].update(search)
    if init is not None:
        data["compression"]["sparsity_init"] = init
    return data


def _quantized(ranges: Any):
    return quantization(initializer={"range": ranges})


BROKEN = {
    "ray with one trial at a time": (
        {**_pruning({"strategy": "ramp"}), "engine": "ray"},
        "engine",
        "ray runs trials at the same time, and there is one at a time; set parallel_trials of mode",
    ),
    "several trials at a time by steps": (
        _pruning({"parallel_trials": 4}),
        f"{PARAMS}.parallel_trials",
        "4 trials at a time are for strategy ramp, which has a bracket to cut; each step of",
    ),
    "both degradations": (
        _pruning({"maximal_absolute_accuracy_degradation": 0.5}),
        f"{PARAMS}.maximal_absolute_accuracy_degradation",
        "0.5 is given besides maximal_relative_accuracy_degradation 1; keep one",
    ),
    "smallest step above the first": (
        _pruning({"minimal_compression_rate_step": 0.2}),
        f"{PARAMS}.minimal_compression_rate_step",
        "0.2 is above initial_compression_rate_step 0.1",
    ),
    "first step below the default smallest": (
        _pruning({"initial_compression_rate_step": 0.02}),
        f"{PARAMS}.initial_compression_rate_step",
        "0.02 is below minimal_compression_rate_step 0.025",
    ),
    "lowest rate above the highest": (
        _pruning(
            {"minimal_compression_rate": 0.6, "maximal_compression_rate": 0.55}, pruning_target=0.55
        ),
        f"{PARAMS}.minimal_compression_rate",
        "0.6 is above maximal_compression_rate 0.55",
    ),
    "total epochs below the initial phase": (
        _pruning({"maximal_total_epochs": 100}),
        f"{PARAMS}.maximal_total_epochs",
        "100 is below initial_training_phase_epochs 120",
    ),
    "target above the highest rate": (
        _pruning({"maximal_compression_rate": 0.4}),
        f"{PRUNING}.pruning_target",
        "the target 0.5 (the default) is above maximal_compression_rate 0.4",
    ),
    "target below the lowest rate": (
        _pruning({"minimal_compression_rate": 0.4}, pruning_target=0.3),
        f"{PRUNING}.pruning_target",
        "the target 0.3 is below minimal_compression_rate 0.4",
    ),
    "FLOPs target above the highest rate": (
        _pruning({}, pruning_flops_target=0.97),
        f"{PRUNING}.pruning_flops_target",
        "the target 0.97 is above maximal_compression_rate 0.95",
    ),
    "sparsity target above the highest rate": (
        _sparsity({}, sparsity_target=0.99),
        f"{PRUNING}.sparsity_target",
        "the target 0.99 is above maximal_compression_rate 0.95",
    ),
    "last level above the highest rate": (
        _sparsity({}, schedule="multistep", multistep_sparsity_levels=[0.5, 0.96]),
        f"{PRUNING}.multistep_sparsity_levels",
        "the target 0.96 is above maximal_compression_rate 0.95",
    ),
    "a pattern whose rate would be searched": (
        _sparsity({}, sparsity_pattern="2:4"),
        f"{PRUNING}.sparsity_pattern",
        '"2:4" fixes the rate at 0.5, and adaptive_compression_level searches one; use mode',
    ),
    "a pattern with another rate": (
        _sparsity({}, early_exit=True, sparsity_pattern="2:4", sparsity_target=0.6),
        f"{PRUNING}.sparsity_target",
        "0.6 is not 0.5, the rate of sparsity_pattern 2:4",
    ),
    "pruning starts above its target": (
        _pruning({}, init=0.6),
        "compression.pruning_init",
        "0.6 is above pruning_target 0.5 (the default)",
    ),
    "pruning starts above its FLOPs target": (
        _pruning({}, init=0.6, pruning_flops_target=0.3),
        "compression.pruning_init",
        "0.6 is above pruning_flops_target 0.3",
    ),
    "sparsity starts above its target": (
        _sparsity({}, init=0.6, sparsity_target=0.4),
        "compression.sparsity_init",
        "0.6 is above sparsity_target 0.4",
    ),
    "start too high for the bias": (
        _pruning({}, init=0.375, schedule="exponential_with_bias"),
        "compression.pruning_init",
        "0.375 is not below 0.375, three quarters of pruning_target 0.5",
    ),
    "both pruning targets": (
        _pruning({}, pruning_target=0.5, pruning_flops_target=0.4),
        f"{PRUNING}.pruning_target",
        "pruning_target (0.5) and pruning_flops_target (0.4) exclude each other",
    ),
    "both names of the importance": (
        _pruning({}, filter_importance="L1", weight_importance="L2"),
        f"{PRUNING}.weight_importance",
        'weight_importance ("L2") and filter_importance ("L1") mean the same',
    ),
    "both names of an allocation, which differ": (
        _pruning({}, all_weights=True, allocation="cost_aware"),
        f"{PRUNING}.all_weights",
        "all_weights true means allocation global, and allocation is cost_aware; keep one",
    ),
    "both names of an allocation, one of which is off": (
        _pruning({}, all_weights=False, allocation="global"),
        f"{PRUNING}.all_weights",
        "all_weights false excludes allocation global, and allocation is global; keep one",
    ),
    "a ranking learned before there are gradients": (
        _pruning({}, filter_importance="taylor", interlayer_ranking_type="learned_ranking"),
        f"{PRUNING}.filter_importance",
        "taylor needs gradients of the training, before which interlayer_ranking_type",
    ),
    "pruning longer than the initial phase": (
        _pruning({}, pruning_steps=121),
        f"{PRUNING}.pruning_steps",
        "(pruning_steps 121), but initial_training_phase_epochs is 120",
    ),
    "a delay counts too": (
        _pruning({}, pruning_steps=120, num_init_steps=1),
        f"{PRUNING}.pruning_steps",
        "needs 121 epochs",
    ),
    "baseline after the initial phase": (
        _pruning({}, schedule="baseline", num_init_steps=120),
        f"{PRUNING}.num_init_steps",
        "needs 121 epochs to reach its target (num_init_steps 120)",
    ),
    "sparsity longer than the initial phase": (
        _sparsity({"initial_training_phase_epochs": 90}),
        f"{PRUNING}.sparsity_target_epoch",
        "needs 91 epochs to reach its target (sparsity_target_epoch 90 (the default))",
    ),
    "multistep longer than the initial phase": (
        _sparsity({"initial_training_phase_epochs": 50}, schedule="multistep"),
        f"{PRUNING}.multistep_steps",
        "needs 91 epochs",
    ),
    "longer than early_exit's epochs": (
        _pruning({}, early_exit=True, pruning_steps=121),
        f"{PRUNING}.pruning_steps",
        "needs 121 epochs to reach its target (pruning_steps 121), but maximal_total_epochs is 120",
    ),
    "frozen before the target": (
        _sparsity({}, sparsity_target_epoch=50, sparsity_freeze_epoch=50),
        f"{PRUNING}.sparsity_freeze_epoch",
        "the target is reached in epoch 50, but sparsity_freeze_epoch 50 stops the level before",
    ),
    "target after the default freeze": (
        _sparsity({}, sparsity_target_epoch=110),
        f"{PRUNING}.sparsity_target_epoch",
        "sparsity_freeze_epoch 100 (the default) stops the level before; it must be at least 111",
    ),
    "as many levels as steps": (
        _sparsity(
            {}, schedule="multistep", multistep_steps=[1, 2], multistep_sparsity_levels=[0.1, 0.2]
        ),
        f"{PRUNING}.multistep_sparsity_levels",
        "2 levels for 2 multistep_steps; there must be one level more than steps, 3",
    ),
    "levels that fall": (
        _sparsity({}, schedule="multistep", multistep_sparsity_levels=[0.5, 0.1]),
        f"{PRUNING}.multistep_sparsity_levels",
        "[0.5, 0.1] must not fall",
    ),
    "steps that don't rise": (
        _sparsity(
            {},
            schedule="multistep",
            multistep_steps=[5, 5],
            multistep_sparsity_levels=[0, 0.1, 0.2],
        ),
        f"{PRUNING}.multistep_steps",
        "[5, 5] must rise",
    ),
    "percentiles that cross": (
        _quantized({"type": "percentile", "params": {"min_percentile": 60, "max_percentile": 40}}),
        "compression.initializer.range.params.min_percentile",
        "min_percentile 60 is not below max_percentile 40",
    ),
    "a percentile above the other's default": (
        _quantized([{}, {"type": "percentile", "params": {"min_percentile": 99.9}}]),
        "compression.initializer.range[1].params.min_percentile",
        "min_percentile 99.9 is not below max_percentile 99.9",
    ),
    "nesterov without momentum": (
        pruning() | {"optimizer": {"optimizer_params": {"nesterov": True}}},
        "optimizer.optimizer_params.nesterov",
        "true needs a momentum above 0",
    ),
    "two learning rates": (
        pruning() | {"optimizer": {"base_lr": 0.1, "optimizer_params": {"lr": 0.2}}},
        "optimizer.optimizer_params.lr",
        "0.2 contradicts 0.1, given for base_lr as well",
    ),
    "multistep without steps": (
        pruning() | {"optimizer": {"schedule_type": "multistep"}},
        "optimizer.steps",
        "is needed by schedule_type multistep",
    ),
    "learning rate steps that don't rise": (
        pruning() | {"optimizer": {"schedule_type": "multistep", "steps": [20, 10]}},
        "optimizer.steps",
        "[20, 10] must rise",
    ),
    "Adam with momentum": (
        pruning() | {"optimizer": {"type": "Adam", "optimizer_params": {"momentum": 0.9}}},
        "optimizer.optimizer_params.momentum",
        "is not a known key",
    ),
    "schedule parameters of no schedule": (
        pruning() | {"optimizer": {"schedule_params": {"factor": 0.1}}},
        "optimizer.schedule_params",
        "is given without a schedule_type",
    ),
}


@pytest.mark.parametrize(("data", "path", "message"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_rule_is_one_error_with_both_numbers(check, data, path, message):
    (one,) = check(data)
    assert one.path == path
    assert message in one.message


def test_a_pattern_has_no_schedule(check):
    params = {"schedule": "exponential", "sparsity_freeze_epoch": 1, "weight_importance": "abs"}
    data = _sparsity({}, early_exit=True, init=0.1, sparsity_pattern="2:4", **params)
    message = "is ignored: it counts where sparsity_pattern is unstructured, not 2:4"
    ignored = {one.path for one in check(data, warnings=True) if one.message == message}
    assert ignored == {"compression.sparsity_init", *(f"{PRUNING}.{key}" for key in params)}
    with pytest.warns(ConfigWarning):
        config = AccAwareConfig.from_dict(data)
    (section,) = config.levelled
    assert schedule_of(section) == Baseline(0.5)
    assert AccAwareConfig.from_dict(dump(config)) == config


@pytest.mark.parametrize("early_exit", [False, True])
def test_one_of_the_degradations_must_be_given(check, early_exit):
    data = pruning(early_exit=early_exit)
    params = data["accuracy_aware_training"]["params"]
    params.pop("maximal_relative_accuracy_degradation", None)
    params.pop("maximal_absolute_accuracy_degradation", None)
    (one,) = check(data)
    assert one.path == PARAMS
    assert "says nothing about how much accuracy may be lost" in one.message


def test_a_search_has_one_level_to_set(check):
    data = pruning()
    data["compression"] = [data["compression"], sparsity()["compression"]]
    (one,) = check(data)
    assert one.path == "compression[1].algorithm"
    assert "magnitude_sparsity can't go together with filter_pruning" in one.message
    assert "or use mode early_exit" in one.message


def test_early_exit_takes_any_mix(check):
    data = pruning(early_exit=True)
    data["compression"] = [sparsity()["compression"], QUANTIZATION, data["compression"]]
    assert not check(data)


PRUNING_SECTION = {"algorithm": "filter_pruning", "params": {"pruning_steps": 20}}
SPARSITY_SECTION = {"algorithm": "magnitude_sparsity"}
QUANTIZATION = {"algorithm": "quantization"}
DISTILLATION = {"algorithm": "knowledge_distillation", "type": "mse"}


@pytest.mark.parametrize("early_exit", [False, True])
@pytest.mark.parametrize(
    "mix",
    [
        [PRUNING_SECTION],
        [PRUNING_SECTION, QUANTIZATION],
        [QUANTIZATION, SPARSITY_SECTION],
        [DISTILLATION, SPARSITY_SECTION],
        [PRUNING_SECTION, QUANTIZATION, DISTILLATION],
    ],
)
def test_quantization_and_distillation_go_with_either(check, early_exit, mix):
    assert check(pruning(early_exit=early_exit) | {"compression": mix}) == []


@pytest.mark.parametrize("mix", [[QUANTIZATION], [QUANTIZATION, DISTILLATION]])
def test_quantization_alone_has_no_level_to_search(check, mix):
    assert check(pruning(early_exit=True) | {"compression": mix}) == []
    (one,) = check(pruning() | {"compression": mix})
    assert one.path == "accuracy_aware_training.mode"
    assert "searches the level of filter_pruning or magnitude_sparsity, and quantization" in (
        one.message
    )
    assert "use early_exit" in one.message


@pytest.mark.parametrize("early_exit", [False, True])
def test_distillation_alone_is_refused(check, early_exit):
    (one,) = check(pruning(early_exit=early_exit) | {"compression": DISTILLATION})
    assert one.path == "compression.algorithm"
    assert "compresses nothing by itself" in one.message


@pytest.mark.parametrize("twice", [QUANTIZATION, DISTILLATION, SPARSITY_SECTION])
def test_no_algorithm_stands_twice(check, twice):
    mix = [twice, PRUNING_SECTION, twice] if twice != SPARSITY_SECTION else [twice, twice]
    (one,) = check(pruning() | {"compression": mix})
    assert one.path == f"compression[{len(mix) - 1}].algorithm"
    assert "is given twice" in one.message


def test_the_same_algorithm_twice_is_refused(check):
    data = pruning()
    data["compression"] = [data["compression"]] * 2
    (one,) = check(data)
    assert one.path == "compression[1].algorithm"
    assert "filter_pruning is given twice" in one.message


ALLOWED = {
    "no schedule is followed without an initial phase": _pruning(
        {"initial_training_phase_epochs": 0, "maximal_compression_rate": 0.3}, pruning_steps=99
    ),
    "no sparsity schedule either": _sparsity({"initial_training_phase_epochs": 0}),
    "a schedule that just fits": _pruning({}, pruning_steps=120),
    "a delay that just fits": _pruning({}, pruning_steps=100, num_init_steps=20),
    "frozen right after the target": _sparsity(
        {}, sparsity_target_epoch=50, sparsity_freeze_epoch=51
    ),
    "an adaptive schedule of unknown length": _sparsity(
        {"initial_training_phase_epochs": 1}, schedule="adaptive"
    ),
    "the target at the highest rate": _pruning({"maximal_compression_rate": 0.5}),
    "the bias needs no start below the target": _pruning(
        {}, init=0.5, schedule="exponential_with_bias"
    ),
    "both names of an allocation": _pruning({}, all_weights=True, allocation="global"),
    "no ranking across layers, and over the cost": _pruning(
        {}, all_weights=False, allocation="cost_aware"
    ),
    "early_exit has no bounds": _pruning({}, early_exit=True, pruning_target=0.97),
    "one rate alone": _pruning({"minimal_compression_rate": 0.5, "maximal_compression_rate": 0.5}),
    "equal levels": _sparsity({}, schedule="multistep", multistep_sparsity_levels=[0.5, 0.5]),
    "the same learning rate twice": pruning()
    | {"optimizer": {"base_lr": 0.1, "optimizer_params": {"lr": 0.1}}},
}


@pytest.mark.parametrize("data", ALLOWED.values(), ids=list(ALLOWED))
def test_what_a_rule_just_allows_is_right(check, data):
    assert check(data) == []


def test_rules_look_at_right_sections_whatever_is_wrong_elsewhere(check):
    data = _pruning({"minimal_compression_rate_step": 0.2}) | {"seed": -1}
    data["compression"]["params"]["pruning_steps"] = 0.5
    assert {one.path for one in check(data)} == {
        "seed",
        f"{PARAMS}.minimal_compression_rate_step",
        f"{PRUNING}.pruning_steps",
    }


def _paths(diagnostics):
    return [one.path for one in diagnostics]


def test_a_faulty_section_hides_no_rule_that_can_be_judged(check):
    data = _pruning({"patience_epochs": 0, "minimal_compression_rate_step": 0.2}, init=0.6)
    data["compression"]["params"]["pruning_steps"] = 0
    data["compression"]["params"]["filter_importance"] = "L3"
    assert set(_paths(check(data))) == {
        f"{PARAMS}.patience_epochs",
        f"{PARAMS}.minimal_compression_rate_step",
        f"{PRUNING}.pruning_steps",
        f"{PRUNING}.filter_importance",
        "compression.pruning_init",
    }


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (
            _pruning({"initial_compression_rate_step": "x"}),
            f"{PARAMS}.initial_compression_rate_step",
        ),
        (_pruning({"maximal_compression_rate": 2}), f"{PARAMS}.maximal_compression_rate"),
        (
            _pruning({"initial_training_phase_epochs": -1}),
            f"{PARAMS}.initial_training_phase_epochs",
        ),
        (_pruning({}, pruning_target=7), f"{PRUNING}.pruning_target"),
        (_pruning({}, pruning_steps="9"), f"{PRUNING}.pruning_steps"),
        (
            _pruning({}, schedule="exponential_with_bias", pruning_target=-1, init=0.45),
            f"{PRUNING}.pruning_target",
        ),
        (
            _sparsity({}, schedule="multistep", multistep_steps=[-1]),
            f"{PRUNING}.multistep_steps[0]",
        ),
        (_sparsity({}, schedule="multi", multistep_steps=[1, 2]), f"{PRUNING}.schedule"),
    ],
)
def test_no_rule_is_judged_by_a_faulty_key(check, data, path):
    assert _paths(check(data)) == [path]


def test_the_mix_is_judged_whatever_is_wrong_inside(check):
    broken = [
        {"algorithm": "filter_pruning", "params": 3},
        {"algorithm": "magnitude_sparsity", "colour": 1},
        {"algorithm": "filter_prunin"},
    ]
    assert _paths(check(pruning() | {"compression": broken})) == [
        "compression[0].params",
        "compression[1].algorithm",
        "compression[1].colour",
        "compression[2].algorithm",
        "compression[2].algorithm",
    ]


def test_both_degradations_are_told_even_if_one_is_faulty(check):
    data = _pruning({"maximal_absolute_accuracy_degradation": "x"})
    assert _paths(check(data)) == [f"{PARAMS}.maximal_absolute_accuracy_degradation"] * 2


def test_more_entries_than_could_go_together_are_one_error(check):
    (first, *others) = check(pruning() | {"compression": [PRUNING_SECTION] * 500})
    assert (first.path, first.message) == ("compression", "has 500 entries, at most 10 possible")
    assert len(others) == 9


WITHOUT_PHASE = {"initial_training_phase_epochs": 0}


@pytest.mark.parametrize(
    ("data", "path", "named"),
    [
        (
            _pruning(WITHOUT_PHASE, init=0.1, pruning_target=0.4, filter_importance="L1"),
            "compression.pruning_init",
            "pruning_init, pruning_target and pruning_steps are ignored",
        ),
        (
            _sparsity(WITHOUT_PHASE, schedule="multistep", multistep_steps=[9]),
            f"{PRUNING}.schedule",
            "schedule and multistep_steps are ignored",
        ),
    ],
)
def test_a_schedule_that_nobody_follows_is_a_warning(check, data, path, named):
    assert check(data) == []
    (one,) = check(data, warnings=True)
    assert one.path == path
    assert named in one.message
    assert "initial_training_phase_epochs 0" in one.message


def test_without_an_initial_phase_the_resolved_config_has_no_schedule(recwarn):
    config = AccAwareConfig.from_dict(_pruning(WITHOUT_PHASE, pruning_flops_target=0.3, init=0.1))
    recwarn.clear()
    resolved = config.to_dict()
    assert "pruning_init" not in resolved["compression"][0]
    params = resolved["compression"][0]["params"]
    assert not {"schedule", "pruning_steps", "num_init_steps"} & params.keys()
    assert params["pruning_flops_target"] == 0.3
    assert AccAwareConfig.from_dict(resolved) == config
    assert len(recwarn) == 0
