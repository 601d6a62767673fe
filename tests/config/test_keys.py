"""Each key's type and bounds, unknown keys, and keys that are not supported or have no effect."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from tests.config.samples import Data, pruning, quantization, sparsity

AAT = "accuracy_aware_training.params"


def _with(data: Data, path: str, value: Any) -> Data:
    *parents, last = path.split(".")
    here = data
    for parent in parents:
        here = here.setdefault(parent, {})
    here[last] = value
    return data


def learned() -> Data:
    return _with(pruning(), "compression.params.interlayer_ranking_type", "learned_ranking")


def loaded() -> Data:
    return _with(learned(), "compression.params.load_ranking_coeffs_path", "x.json")


WRONG_VALUES = [
    (pruning, f"{AAT}.patience_epochs", 1.5, "1.5 is not an integer"),
    (pruning, f"{AAT}.patience_epochs", -1, "-1 is below the minimum 1"),
    (pruning, f"{AAT}.patience_epochs", True, "true is not an integer"),
    (pruning, f"{AAT}.initial_training_phase_epochs", "9", '"9" is not an integer'),
    (pruning, f"{AAT}.validate_every_n_epochs", 0, "0 is below the minimum 1"),
    (pruning, f"{AAT}.maximal_total_epochs", 0, "0 is below the minimum 1"),
    (pruning, f"{AAT}.maximal_relative_accuracy_degradation", -0.5, "-0.5 is below the minimum 0"),
    (pruning, f"{AAT}.minimal_compression_rate_step", -0.1, "-0.1 is not above 0"),
    (pruning, f"{AAT}.initial_compression_rate_step", 0, "0 is not above 0"),
    (pruning, f"{AAT}.initial_compression_rate_step", 1.1, "1.1 is above the maximum 1"),
    (pruning, f"{AAT}.compression_rate_step_reduction_factor", 1, "1 is not below 1"),
    (pruning, f"{AAT}.compression_rate_step_reduction_factor", 0, "0 is not above 0"),
    (pruning, f"{AAT}.lr_reduction_factor", 1.5, "1.5 is above the maximum 1"),
    (pruning, f"{AAT}.minimal_compression_rate", -0.1, "-0.1 is below the minimum 0"),
    (pruning, f"{AAT}.maximal_compression_rate", 1, "1 is not below 1"),
    (pruning, f"{AAT}.stop_trial_when_within_budget", 1, "1 is not true or false"),
    (pruning, f"{AAT}.weight_averaging", "ema", '"ema" is not none or polynomial'),
    (pruning, f"{AAT}.confirmation", True, "true is not an object in braces"),
    (pruning, f"{AAT}.confirmation.fraction", 1, "1 is not below 1"),
    (pruning, f"{AAT}.confirmation.fraction", 0, "0 is not above 0"),
    (pruning, f"{AAT}.required_confidence", 0.5, "0.5 is not above 0.5"),
    (pruning, f"{AAT}.required_confidence", 95, "95 is not below 1"),
    (pruning, "accuracy_aware_training.params", 1, "1 is not an object in braces"),
    (pruning, "accuracy_aware_training", [], "[] is not an object in braces"),
    (pruning, "compression", "filter_pruning", "is not an object in braces or a list"),
    (pruning, "compression", [], "has 0 entries, at least 1 needed"),
    (pruning, "compression.pruning_init", 1, "1 is not below 1"),
    (pruning, "compression.params.pruning_target", 1.2, "1.2 is not below 1"),
    (pruning, "compression.params.pruning_flops_target", -0.2, "-0.2 is below the minimum 0"),
    (pruning, "compression.params.pruning_steps", 0, "0 is below the minimum 1"),
    (pruning, "compression.params.num_init_steps", -1, "-1 is below the minimum 0"),
    (pruning, "compression.params.channel_multiple", 0, "0 is below the minimum 1"),
    (learned, "compression.params.legr_params", 3, "3 is not an object in braces"),
    (learned, "compression.params.legr_params.generations", 0, "0 is below the minimum 1"),
    (learned, "compression.params.legr_params.train_steps", 1.5, "1.5 is not an integer"),
    (learned, "compression.params.legr_params.max_pruning", 1, "1 is not below 1"),
    (learned, "compression.params.legr_params.max_pruning", 0, "0 is not above 0"),
    (learned, "compression.params.legr_params.random_seed", -1, "-1 is below the minimum 0"),
    (learned, "compression.params.legr_params.population_size", 0, "0 is below the minimum 1"),
    (learned, "compression.params.legr_params.num_samples", 1.5, "1.5 is not an integer"),
    (learned, "compression.params.legr_params.mutate_percent", 10, "10 is above the maximum 1"),
    (learned, "compression.params.legr_params.scale_sigma", -1, "-1 is below the minimum 0"),
    (learned, "compression.params.load_ranking_coeffs_path", "", "is an empty string"),
    (pruning, "compression.ignored_scopes", 3, "3 is not a string or a list"),
    (pruning, "compression.ignored_scopes", "", "is an empty string"),
    (
        pruning,
        "compression.initializer.batchnorm_adaptation.num_bn_adaptation_samples",
        -1,
        "-1 is below the minimum 0",
    ),
    (sparsity, "compression.params.sparsity_target_epoch", 2.5, "2.5 is not an integer"),
    (sparsity, "compression.params.power", 0, "0 is not above 0"),
    (sparsity, "compression.params.multistep_sparsity_levels", [], "has 0 entries, at least 1"),
    (sparsity, "compression.params.patience", 0, "0 is below the minimum 1"),
    (quantization, "compression.weights.bits", 1, "1 is below the minimum 2"),
    (quantization, "compression.activations.bits", 16, "16 is above the maximum 8"),
    (quantization, "compression.weights.bits", 4.5, "4.5 is not an integer"),
    (quantization, "compression.weights.signed", "yes", '"yes" is not true or false'),
    (quantization, "compression.quantize_inputs", 0, "0 is not true or false"),
    (quantization, "compression.initializer.range", 3, "3 is not an object in braces or a list"),
    (quantization, "compression.initializer.range.num_init_samples", -1, "below the minimum 0"),
    (quantization, "compression.scope_overrides.weights", [], "[] is not an object in braces"),
    (quantization, "compression.compression_lr_multiplier", 0, "0 is not above 0"),
    (pruning, "compression.validate_scopes", "no", '"no" is not true or false'),
    (pruning, "epochs", "many", '"many" is not an integer'),
    (pruning, "pretrained", 1, "1 is not true or false"),
    (pruning, "model", 18, "18 is not a string"),
    (pruning, "workers", -1, "-1 is below the minimum 0"),
    (pruning, "ssd_params", [], "[] is not an object in braces"),
    (pruning, "batch_size", 0, "0 is below the minimum 1"),
    (pruning, "batch_size_total", 0, "0 is below the minimum 1"),
    (pruning, "sync_batchnorm", 1, "1 is not true or false"),
    (pruning, "metric.reduce", "sum", '"sum" is not first or mean'),
    (pruning, "seed", -1, "-1 is below the minimum 0"),
    (pruning, "device", "tpu", '"tpu" is not auto, cpu, cuda, cuda:0'),
    (pruning, "input_info", {"sample_size": []}, None),
    (pruning, "metric.higher_is_better", "yes", '"yes" is not true or false'),
    (pruning, "plugin", "", "is an empty string"),
    (pruning, "optimizer.base_lr", 0, "0 is not above 0"),
]


@pytest.mark.parametrize(("make", "path", "value", "message"), WRONG_VALUES)
def test_a_value_out_of_type_or_bounds_is_one_error(check, make, path, value, message):
    (one,) = check(_with(make(), path, value))
    if message is None:
        assert one.path.startswith(path)
    else:
        assert one.path == path
        assert message in one.message


CHOICES = [
    (partial(pruning, early_exit=True), "accuracy_aware_training.mode", "early_exti", "early_exit"),
    (pruning, "compression.algorithm", "filter_prunning", "filter_pruning"),
    (pruning, "compression.params.schedule", "exponental", "exponential"),
    (pruning, "compression.params.filter_importance", "geometric_mean", "geometric_median"),
    (sparsity, "compression.params.weight_importance", "norm_abs", "normed_abs"),
    (sparsity, "compression.params.sparsity_level_setting_mode", "globl", "global"),
    (pruning, "optimizer.schedule_type", "multi_step", "multistep"),
    (pruning, "target_device", "NPUU", "NPU"),
    (pruning, "device", "cpuu", "cpu"),
    (quantization, "compression.preset", "performence", "performance"),
    (quantization, "compression.weights.mode", "symetric", "symmetric"),
    (quantization, "compression.initializer.range.type", "three_sigma", "threesigma"),
    (quantization, "compression.overflow_fix", "enabled", "enable"),
]


@pytest.mark.parametrize(("make", "path", "value", "meant"), CHOICES)
def test_a_misspelt_choice_gets_a_suggestion(check, make, path, value, meant):
    (one,) = check(_with(make(), path, value))
    assert (one.path, one.suggestion) == (path, meant)
    assert f"did you mean {meant}?" in one.message


UNKNOWN = [
    ("batch_sise", "batch_size"),
    (f"{AAT}.validate_every_n_epoch", "validate_every_n_epochs"),
    ("compression.params.prunning_target", "pruning_target"),
    ("metric.higher_is_beter", "higher_is_better"),
    ("compression.validate_scope", "validate_scopes"),
    ("zzzzzz", None),
    # What stands there already isn't what was meant, nor is its rival or what has no effect.
    (f"{AAT}.patience_epoch", None),
    ("compression.params.pruning_step", None),
    ("compression.prams", None),
    ("target_devise", None),
    ("epoch", None),
]


@pytest.mark.parametrize(("path", "meant"), UNKNOWN)
def test_an_unknown_key_is_an_error_that_says_what_to_do(check, path, meant):
    (one,) = check(_with(pruning(), path, 1))
    assert (one.path, one.suggestion) == (path, meant)
    assert "is not a known key" in one.message
    way_out = "it can be taken out, or put into plugin_args"
    assert (way_out in one.message) == (meant is None)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"pruning_target": 0.4}, "pruning_flop_target"),
        ({"pruning_flops_target": 0.4}, "pruning_targett"),
        ({"filter_importance": "L1"}, "weight_importanc"),
        ({"weight_importance": "L1"}, "filter_importanc"),
    ],
)
def test_what_excludes_a_key_that_is_there_is_not_suggested(check, given, key):
    data = pruning()
    data["compression"]["params"].update(given)
    (one,) = check(_with(data, f"compression.params.{key}", "L1"))
    assert one.suggestion is None


def test_a_key_is_suggested_once(check):
    data = pruning() | {"batch_sizes": 3, "batchsize": 4, "bach_size": 5}
    suggestions = [one.suggestion for one in check(data)]
    assert len(suggestions) == 3
    assert suggestions.count("batch_size") == 1


def test_what_a_misspelt_key_was_meant_to_be_is_not_missing(check):
    data = pruning()
    params = data["accuracy_aware_training"]["params"]
    params["patience_epoch"] = params.pop("patience_epochs")
    (one,) = check(data)
    assert one.suggestion == "patience_epochs"
    data = pruning()
    data["compresion"] = data.pop("compression")
    (one,) = check(data)
    assert one.suggestion == "compression"


LEVELS, STEPS = "multistep_sparsity_levels", "multistep_steps"
SHORT, LOW = {"initial_training_phase_epochs": 60}, {"maximal_compression_rate": 0.45}


@pytest.mark.parametrize(
    ("make", "limit", "path"),
    [
        (partial(sparsity, schedule="multistep", **{LEVELS: [0.1] * 3}), SHORT, "params.steps"),
        (partial(sparsity, schedule="multistep"), SHORT, "params.multistep_step"),
        (partial(sparsity, schedule="multistep"), LOW, "params.sparsity_levels"),
        (partial(sparsity, schedule="multistep", **{STEPS: [5, 9]}), LOW, "params.sparsity_levels"),
        (sparsity, LOW, "params.sparsity_traget"),
        (sparsity, LOW, "sparsity_target"),
        (sparsity, SHORT, "sparsity_target_epoch"),
        (pruning, LOW, "params.pruning_traget"),
        (pruning, LOW, "pruning_target"),
    ],
)
def test_no_rule_judges_the_default_of_a_key_that_was_meant(check, make, limit, path):
    data = make()
    data["accuracy_aware_training"]["params"].update(limit)
    (one,) = check(_with(data, f"compression.{path}", 1))
    assert one.path == f"compression.{path}"
    assert one.suggestion


@pytest.mark.parametrize(
    ("old", "now"), [("steps", "multistep_steps"), ("sparsity_levels", "multistep_sparsity_levels")]
)
def test_an_older_name_of_a_key_is_told_with_its_name_of_today(check, old, now):
    (one,) = check(_with(sparsity(schedule="multistep"), f"compression.params.{old}", [1]))
    assert (one.path, one.suggestion) == (f"compression.params.{old}", now)


MISPLACED = [
    (pruning, "compression.pruning_target", "compression.params"),
    (pruning, "compression.params.pruning_init", "compression"),
    (pruning, "compression.params.seed", "the top of the config"),
    (pruning, "accuracy_aware_training.patience_epochs", AAT),
    (pruning, f"{AAT}.mode", "accuracy_aware_training"),
    (pruning, "patience_epochs", AAT),
    (pruning, "pruning_steps", "compression.params"),
    (pruning, "num_bn_adaptation_samples", "compression.initializer.batchnorm_adaptation"),
    (pruning, "optimizer.momentum", "optimizer.optimizer_params"),
    (quantization, "compression.bits", "compression.weights"),
]


@pytest.mark.parametrize(("make", "path", "home"), MISPLACED)
def test_a_key_in_the_wrong_place_is_sent_to_where_it_belongs(check, make, path, home):
    data = _with(make(), path, 1)
    key = path.rpartition(".")[2]
    here = data
    for step in () if home == "the top of the config" else home.split("."):
        here = here.get(step, {})
    there = key in here
    (one,) = check(data)
    assert one.path == path
    assert f"it belongs into {home}" in one.message
    assert ("which has one already" in one.message) == there
    own = key if home == "the top of the config" else f"{home}.{key}"
    assert one.suggestion == (None if there else own)


def test_a_misspelt_algorithm_key_hides_nothing_of_its_section(check):
    data = pruning()
    data["compression"] = {"algoritm": "filter_pruning", "params": {"pruning_steps": 0}}
    found = {one.path: one.suggestion for one in check(data)}
    assert found == {"compression.algoritm": "algorithm", "compression.params.pruning_steps": None}


@pytest.mark.parametrize(
    ("remove", "line"),
    [
        ("accuracy_aware_training.mode", 2),
        ("accuracy_aware_training.params", 2),
        (f"{AAT}.patience_epochs", 4),
        (f"{AAT}.initial_training_phase_epochs", 4),
        ("compression.algorithm", 10),
        ("accuracy_aware_training", 1),
        ("compression", 1),
    ],
)
def test_a_missing_key_names_itself_at_its_objects_line(check, remove, line):
    data = pruning()
    *parents, last = remove.split(".")
    here = data
    for parent in parents:
        here = here[parent]
    removed = here.pop(last)
    (one,) = check(data)
    assert one.path == remove
    assert "is missing" in one.message
    assert one.line == (line if not isinstance(removed, dict) or not parents else 2)


def test_a_missing_key_says_what_it_would_be(check):
    data = pruning()
    del data["accuracy_aware_training"]["params"]["patience_epochs"]
    (one,) = check(data)
    assert one.message == "is missing: epochs that each trial is trained for"


@pytest.mark.parametrize(
    "compression",
    [
        {"algorithm": "filter_pruning"},
        {"algorithm": "magnitude_sparsity", "params": {"sparsity_target_epoch": 99}},
        {"algorithm": "quantization"},
        [{"algorithm": "quantization"}, {"algorithm": "filter_pruning"}],
    ],
)
def test_without_the_search_section_there_is_nothing_to_search_for(check, compression):
    (one,) = check({"compression": compression})
    assert "nothing to search for; add " in one.message
    assert one.message.endswith(one.suggestion)
    # What it says can be pasted, and is then right.
    pasted = json.dumps({"compression": compression}).replace("{", "{" + one.suggestion + ",", 1)
    assert check(pasted) == []


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("rb_sparsity", "magnitude_sparsity"),
        ("const_sparsity", "magnitude_sparsity"),
        ("movement_sparsity", "magnitude_sparsity"),
        ("binarization", "quantization"),
        ("experimental_quantization", "quantization"),
        ("bootstrapNAS", "filter_pruning"),
    ],
)
def test_an_algorithm_of_nncf_that_is_not_supported_is_told_what_to_use(check, name, instead):
    (one,) = check(pruning() | {"compression": {"algorithm": name, "weights": {"bits": 4}}})
    assert one.path == "compression.algorithm"
    assert f"is not supported by this version; use {instead}" in one.message


@pytest.mark.parametrize(
    ("path", "value", "instead"),
    [
        ("initializer.precision", {"type": "hawq", "bits": [4, 8]}, "scope_overrides"),
        ("initializer.precision", {"bitwidth_per_scope": [[4, "a"]]}, "scope_overrides"),
        ("params", {"activations_quant_start_epoch": 1}, "from the first epoch on"),
    ],
)
def test_what_quantization_does_not_do_is_told_what_to_use(check, path, value, instead):
    (one,) = check(_with(quantization(), f"compression.{path}", value))
    assert one.path == f"compression.{path}"
    assert "is not supported by this version; " in one.message
    assert instead in one.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("target_device", "VPU"),
        ("optimizer.schedule_type", "piecewise_constant"),
        ("optimizer.type", "momentum"),
    ],
)
def test_what_is_known_but_not_supported_is_said_to_be_so(check, path, value):
    data = _with(pruning(), path, value)
    assert check(data, warnings=True) == []
    (one,) = check(data)
    assert one.path == path
    assert "is not supported by this version" in one.message


@pytest.mark.parametrize(
    ("make", "path", "now"),
    [
        (quantization, "initializer.range.num_init_steps", "num_init_samples"),
        (
            pruning,
            "initializer.batchnorm_adaptation.num_bn_adaptation_steps",
            "num_bn_adaptation_samples",
        ),
    ],
)
def test_a_number_of_batches_is_no_number_of_samples(check, make, path, now):
    (one,) = check(_with(make(), f"compression.{path}", 5))
    assert one.suggestion is None
    assert f"write {now}, which is that number times the batch size" in one.message


@pytest.mark.parametrize(
    ("make", "path", "value", "message"),
    [
        (pruning, "compression.params.schedule", 5, "5 is not baseline, exponential or exp"),
        (pruning, "target_device", 3, "3 is not ANY, CPU"),
        (pruning, f"{AAT}.patience_epochs", -1.5, "-1.5 is not an integer"),
        (pruning, "optimizer.type", [], "[] is not SGD, Adam or AdamW"),
        (pruning, "log_dir", 5, "5 is not a string"),
        (
            partial(sparsity, schedule="multistep"),
            "compression.params.multistep_steps",
            [10, 5, 7],
            "must rise from entry to entry; and 2 levels for 3 multistep_steps",
        ),
    ],
)
def test_a_value_that_is_wrong_twice_is_one_message(check, make, path, value, message):
    data = _with(make(), path, value)
    (one,) = check(data)
    assert message in one.message
    assert check(data, warnings=True) == []


IGNORED = [
    (pruning, "log_dir", "logs", "run directory"),
    (pruning, "target_device", "NPU", "same way for every device"),
    (pruning, "compression_lr_multiplier", 2, "trains parameters of its own"),
    (pruning, "compression.compression_lr_multiplier", 2, "trains no parameters"),
    (pruning, "compression.params.prune_batch_norms", False, "together with its batch norm"),
    (
        pruning,
        "compression.params.save_ranking_coeffs_path",
        "x",
        "interlayer_ranking_type is learned_ranking, not unweighted_ranking",
    ),
    (pruning, "compression.params.legr_params", {}, "interlayer_ranking_type is learned_ranking"),
    (
        learned,
        "compression.params.all_weights",
        True,
        "interlayer_ranking_type is unweighted_ranking, not learned_ranking",
    ),
    (
        pruning,
        "compression.params.coupled_importance",
        "sum",
        "counts where allocation is global, not uniform",
    ),
    (
        pruning,
        "compression.params.max_layer_pruning",
        0.5,
        "counts where allocation is global or cost_aware, not uniform",
    ),
    (
        learned,
        "compression.params.max_layer_pruning",
        0.5,
        "interlayer_ranking_type is unweighted_ranking, not learned_ranking",
    ),
    (
        learned,
        "compression.params.allocation",
        "global",
        "interlayer_ranking_type is unweighted_ranking, not learned_ranking",
    ),
    (loaded, "compression.params.legr_params", {}, "counts without load_ranking_coeffs_path"),
    (
        loaded,
        "compression.params.save_ranking_coeffs_path",
        "x",
        "counts without load_ranking_coeffs_path",
    ),
    (pruning, "epochs", 3, "a key that only NNCF's example scripts read"),
    (sparsity, "compression.params.multistep_steps", [3], "schedule is multistep, not polynomial"),
    (pruning, "disable_shape_matching", True, "doesn't trace"),
    (pruning, "input_info", {"sample_size": [1], "filler": "ones"}, "come from the data"),
    (pruning, "max_iter", 1000, "a key that only NNCF's example scripts read"),
    (pruning, "target_metric_name", "mAP", "metric.name is what it is called here"),
    (pruning, "compression.params.prune_last_conv", True, "pruned as all others are"),
    (pruning, "optimizer.parameter_groups", [{"re": "bias"}], "are one group here"),
    (
        pruning,
        "compression.initializer.batchnorm_adaptation.num_bn_forget_steps",
        5,
        "averages over all samples",
    ),
    (sparsity, "compression.params.patience", 3, "schedule is adaptive, not polynomial"),
    (sparsity, "compression.params.steps_per_epoch", 3, "update_per_optimizer_step is true"),
    (pruning, "optimizer.gamma", 0.5, "schedule_type is multistep, step or exponential, not null"),
]


def test_of_alternatives_the_nearest_says_what_is_missing(check):
    data = pruning()
    data["compression"]["params"] |= {
        "all_weights": True,
        "filter_importance": "taylor",
        "coupled_importance": "sum",
    }
    (one,) = check(data, warnings=True)
    assert one.path == "compression.params.coupled_importance"
    assert "counts where filter_importance is L1, L2 or geometric_median, not" in one.message


@pytest.mark.parametrize(("make", "path", "value", "why"), IGNORED)
def test_what_has_no_effect_is_a_warning_that_says_why(check, make, path, value, why):
    data = _with(make(), path, value)
    assert check(data) == []
    (one,) = check(data, warnings=True)
    assert one.path.startswith(path)
    assert "is ignored" in one.message
    assert why in one.message


NOTES = [
    ("input_infos", {"sample_size": [1, 3, 8, 8]}, "is read as input_info", "input_info"),
    ("compression.params.filter_importance", "l1", '"l1" is read as "L1"', "L1"),
    ("optimizer.type", "sgd", '"sgd" is read as "SGD"', "SGD"),
    ("target_device", "npu", '"npu" is read as "NPU"', "NPU"),
]


@pytest.mark.parametrize(("path", "value", "message", "suggestion"), NOTES)
def test_another_spelling_is_accepted_with_a_note(check, path, value, message, suggestion):
    data = _with(pruning(), path, value)
    assert check(data) == []
    (one,) = check(data, severity="note")
    assert (one.path, one.message, one.suggestion) == (path, message, suggestion)


def test_another_name_in_another_case_gets_both_notes(check):
    data = _with(pruning(), "compression.params.weight_importance", "GEOMETRIC_MEDIAN")
    assert check(data) == []
    assert [one.suggestion for one in check(data, severity="note")] == [
        "filter_importance",
        "geometric_median",
    ]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("export_to_onnx_standard_ops", True, "always have ONNX's standard"),
        ("initializer.range", {"params": {"min_percentile": 1}}, "type is percentile or mean_p"),
        ("initializer.range", [{"params": {"min_percentile": 1}}], "not mixed_min_max"),
        ("initializer.range", {"target_quantizer_group": "weights"}, "that of its values"),
        ("compression_lr_multiplier", 3, "ranges are measured, not trained"),
        ("weights.logarithm_scale", True, "ranges are measured, not trained"),
        ("weights.signed", False, "would lose these"),
        ("activations.per_channel", True, "one range a tensor"),
        ("activations.unified_scale_ops", [["a", "b"]], "measured by itself"),
        ("scope_overrides", {"weights": {"a": {"initializer": {}}}}, "that of its values"),
        ("scope_overrides", {"activations": {"a": {"per_channel": True}}}, "one range a tensor"),
    ],
)
def test_what_has_no_effect_on_quantization_is_a_warning(check, path, value, why):
    data = _with(quantization(), f"compression.{path}", value)
    assert check(data) == []
    (found,) = check(data, warnings=True)
    assert why in found.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$schema", "https://example.org/schema.json"),
        ("compression.validate_scopes", True),
        ("compression.params.prune_batch_norms", True),
        ("compression.validate_scopes", False),
        ("compression.ignored_scopes", "layer1"),
        ("compression.target_scopes", ["{re}.*conv"]),
        ("input_info", [{"sample_size": [1, 3, 8, 8]}, {"sample_size": [1]}]),
        ("device", "cuda:1"),
        ("optimizer", {"type": "Adam", "optimizer_params": {"lr": 1e-3, "betas": [0.9, 0.99]}}),
        ("optimizer", {"schedule_type": "multistep", "steps": [5, 5, 9]}),
        ("optimizer", {"schedule_type": "plateau", "schedule_params": {"cooldown": 3}}),
    ],
)
def test_what_is_right_is_accepted_without_a_word(check, path, value):
    data = _with(pruning(), path, value)
    assert check(data) + check(data, warnings=True) == []


def test_sample_keys_are_one_warning_together(check):
    data = pruning() | {"epochs": 3, "print_freq": 10, "gpu_id": 0, "iter_size": 4}
    (one,) = check(data, warnings=True)
    assert one.message.startswith("epochs, print_freq, gpu_id and iter_size are ignored")
