"""Rules across keys: one row a rule. The numbers of both sides are in the message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.samples import pruning, sparsity

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


BROKEN = {
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


@pytest.mark.parametrize("early_exit", [False, True])
def test_one_of_the_degradations_must_be_given(check, early_exit):
    data = pruning(early_exit=early_exit)
    params = data["accuracy_aware_training"]["params"]
    params.pop("maximal_relative_accuracy_degradation", None)
    params.pop("maximal_absolute_accuracy_degradation", None)
    (one,) = check(data)
    assert one.path == PARAMS
    assert "says nothing about how much accuracy may be lost" in one.message


@pytest.mark.parametrize(
    ("early_exit", "message"),
    [
        (False, "magnitude_sparsity can't go together with filter_pruning"),
        (True, "magnitude_sparsity together with filter_pruning is not supported"),
    ],
)
def test_pruning_with_sparsity_is_refused(check, early_exit, message):
    data = pruning(early_exit=early_exit)
    data["compression"] = [data["compression"], sparsity()["compression"]]
    (one,) = check(data)
    assert one.path == "compression[1].algorithm"
    assert message in one.message


def test_the_same_algorithm_twice_is_refused(check):
    data = pruning()
    data["compression"] = [data["compression"]] * 2
    (one,) = check(data)
    assert one.path == "compression[1].algorithm"
    assert "filter_pruning is given twice" in one.message


ALLOWED = {
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
