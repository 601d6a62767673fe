"""From text to an AccAwareConfig and back, and what the dataclasses promise."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from accaware.config.load import (
    AccAwareConfig,
    ConfigWarning,
    examine_bytes,
    examine_file,
    examine_text,
)
from accaware.config.model.config import (
    FilterPruningConfig,
    FilterPruningParams,
    InputInfo,
    KnowledgeDistillationConfig,
    LegrParams,
    MagnitudeSparsityConfig,
    MagnitudeSparsityParams,
    Metric,
    OptimizerConfig,
)
from accaware.config.model.initializers import BatchNormAdaptation, Initializer
from accaware.config.model.quantization import (
    ActivationOverride,
    ActivationsQuantization,
    QuantizationConfig,
    QuantizationInitializer,
    RangeInitializer,
    RangeParams,
    ScopeOverrides,
    WeightOverride,
    WeightsQuantization,
)
from accaware.config.model.schedule import schedule_of
from accaware.config.model.task import TaskConfig
from accaware.config.schema.catalog import definitions, properties, schema
from accaware.errors import ConfigError
from accaware.search.params import AdaptiveParams, EarlyExitParams
from accaware.search.schedules.schedules import (
    Adaptive,
    Baseline,
    Exponential,
    ExponentialWithBias,
    MultiStep,
    Polynomial,
)
from tests.config.samples import DOCUMENTATION, Data, pruning, sparsity


def test_the_example_of_the_documentation_loads_as_it_is(tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(DOCUMENTATION)
    config = AccAwareConfig.from_json(file)
    assert [(one.path, one.severity) for one in examine_file(file).diagnostics] == [
        ("input_infos", "note"),
        ("compression[0].params.weight_importance", "note"),
    ]
    assert config == AccAwareConfig(
        accuracy_aware_training=AdaptiveParams(
            maximal_relative_accuracy_degradation=1.0,
            initial_training_phase_epochs=100,
            patience_epochs=30,
        ),
        compression=(
            FilterPruningConfig(
                pruning_init=0.05,
                params=FilterPruningParams(
                    pruning_target=0.1, pruning_steps=50, filter_importance="geometric_median"
                ),
            ),
        ),
        plugin=str(tmp_path / "plugin.py"),
        input_info=(InputInfo(sample_size=(1, 2, 224, 224)),),
        directory=tmp_path,
    )


def test_epochs_written_as_a_float_are_integers():
    data = pruning()
    data["accuracy_aware_training"]["params"]["maximal_total_epochs"] = 1e4
    total = AccAwareConfig.from_dict(data).accuracy_aware_training.maximal_total_epochs
    assert (total, type(total)) == (10000, int)


def test_early_exit_loads():
    config = AccAwareConfig.from_dict(sparsity(early_exit=True, sparsity_target=0.7))
    assert config.mode == "early_exit"
    assert config.accuracy_aware_training == EarlyExitParams(
        maximal_absolute_accuracy_degradation=0.5, maximal_total_epochs=120
    )
    assert config.compression == (
        MagnitudeSparsityConfig(params=MagnitudeSparsityParams(sparsity_target=0.7)),
    )


def test_quantization_mirrors_its_json():
    data = pruning(early_exit=True) | {"compression": QUANTIZED, "compression_lr_multiplier": 3}
    with pytest.warns(ConfigWarning) as warned:
        (algorithm,) = AccAwareConfig.from_dict(data).compression
    assert len(warned) == 4
    ranges = (
        RangeInitializer(
            type="percentile", params=RangeParams(max_percentile=99.0), target_scopes=("x",)
        ),
        RangeInitializer(target_quantizer_group="weights"),
    )
    assert isinstance(algorithm, QuantizationConfig)
    assert (algorithm.weights_mode, algorithm.activations_mode) == ("asymmetric", "asymmetric")
    assert algorithm.weights == WeightsQuantization(
        bits=4, mode="asymmetric", ignored_scopes=("a",), validate_scopes=False
    )
    assert algorithm.activations.signed is True
    assert algorithm.initializer == QuantizationInitializer(
        batchnorm_adaptation=BatchNormAdaptation(num_bn_adaptation_samples=4), range=ranges
    )
    assert algorithm.scope_overrides.weights["{re}conv.*"] == WeightOverride(bits=8)
    override = algorithm.scope_overrides.activations["fc"]
    assert (override.bits, override.mode) == (4, None)
    assert override.initializer.range == (RangeInitializer(num_init_samples=3),)


def test_quantization_alone_has_nncfs_defaults():
    data = pruning(early_exit=True) | {"compression": {"algorithm": "quantization"}}
    config = AccAwareConfig.from_dict(data)
    assert config.compression == (QuantizationConfig(),)
    assert config.quantization == QuantizationConfig()
    assert config.levelled == ()


def test_the_levelled_algorithm_is_found_wherever_it_stands():
    data = sparsity()
    data["compression"] = [{"algorithm": "quantization"}, data["compression"]]
    assert AccAwareConfig.from_dict(data).levelled == (MagnitudeSparsityConfig(),)


def test_multistep_replaces_the_target_by_its_last_level():
    levels = {"multistep_sparsity_levels": [0.2, 0.6], "sparsity_target": 0.9}
    with pytest.warns(ConfigWarning, match="compression.params.sparsity_target: is ignored"):
        (algorithm,) = AccAwareConfig.from_dict(
            sparsity(schedule="multistep", **levels)
        ).compression
    assert algorithm.params.sparsity_target == 0.6


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            {"type": "adam", "optimizer_params": {"lr": 5e-5, "weight_decay": 2e-4, "eps": 1e-7}},
            OptimizerConfig(
                type="Adam", base_lr=5e-5, weight_decay=2e-4, optimizer_params={"eps": 1e-7}
            ),
        ),
        (
            {
                "schedule_type": "multistep",
                "schedule_params": {"base_lr": 0.1, "steps": [20, 40], "gamma": 0.2},
                "optimizer_params": {"momentum": 0.9, "nesterov": True},
            },
            OptimizerConfig(
                base_lr=0.1,
                schedule_type="multistep",
                steps=(20, 40),
                gamma=0.2,
                optimizer_params={"momentum": 0.9, "nesterov": True},
            ),
        ),
        (
            {"schedule_type": "poly", "schedule_params": {"power": 2}},
            OptimizerConfig(schedule_type="poly", power=2.0),
        ),
        (
            {"schedule_type": "plateau", "schedule_params": {"threshold": 0.1, "cooldown": 3}},
            OptimizerConfig(
                schedule_type="plateau", schedule_params={"threshold": 0.1, "cooldown": 3}
            ),
        ),
    ],
)
def test_the_optimizers_settings_have_one_home(section, expected):
    assert AccAwareConfig.from_dict(pruning() | {"optimizer": section}).optimizer == expected


QUANTIZED: Data = {
    "algorithm": "quantization",
    "preset": "mixed",
    "weights": {"bits": 4, "mode": "asymmetric", "ignored_scopes": "a", "validate_scopes": False},
    "activations": {"signed": True, "unified_scale_ops": [["a", "b"], ["c"]]},
    "scope_overrides": {
        "weights": {"{re}conv.*": {"bits": 8}},
        "activations": {
            "fc": {
                "bits": 4,
                "per_channel": True,
                "initializer": {"range": {"num_init_samples": 3}},
            }
        },
    },
    "initializer": {
        "batchnorm_adaptation": {"num_bn_adaptation_samples": 4},
        "range": [
            {"type": "percentile", "params": {"max_percentile": 99}, "target_scopes": ["x"]},
            {"target_quantizer_group": "weights"},
        ],
    },
}


def learned(**params: Any) -> Data:
    data = pruning()
    data["compression"]["params"] |= {"interlayer_ranking_type": "learned_ranking", **params}
    return data


ROUND_TRIPS: list[Data] = [
    pruning(early_exit=True) | {"compression": QUANTIZED, "target_device": "NPU"},
    pruning(early_exit=True)
    | {
        "compression": [
            {"algorithm": "quantization", "initializer": {"range": {"type": "min_max"}}},
            {"algorithm": "knowledge_distillation", "type": "softmax", "temperature": 3},
        ],
        "compression_lr_multiplier": 2,
    },
    sparsity()
    | {"compression": [QUANTIZED, {"algorithm": "magnitude_sparsity", "validate_scopes": False}]},
    pruning(),
    pruning(early_exit=True),
    sparsity(),
    sparsity(schedule="multistep", multistep_steps=[3], multistep_sparsity_levels=[0.1, 0.3]),
    sparsity(schedule="adaptive", patience=2),
    sparsity(update_per_optimizer_step=True, steps_per_epoch=7),
    sparsity(multistep_steps=[1], patience=4),
    pruning()
    | {
        "compression": {
            "algorithm": "filter_pruning",
            "params": {
                "schedule": "baseline",
                "all_weights": True,
                "coupled_importance": "sum",
                "max_layer_pruning": 1,
            },
        }
    },
    pruning()
    | {
        "compression": {
            "algorithm": "filter_pruning",
            "params": {
                "schedule": "baseline",
                "filter_importance": "taylor",
                "allocation": "cost_aware",
                "max_layer_pruning": 0.5,
            },
        }
    },
    learned(legr_params={"generations": 3}, save_ranking_coeffs_path="a.json"),
    learned(load_ranking_coeffs_path="sub/a.json", all_weights=True),
    pruning() | {"plugin": "pkg.module:Plugin", "plugin_args": {"a": [1, None]}, "seed": 7},
    pruning() | {"plugin": "folder/plugin.py:Plugin", "device": "cuda:1"},
    pruning() | {"optimizer": {"schedule_type": "multistep", "steps": [2, 4], "gamma": 0.3}},
    pruning()
    | {
        "compression": {
            "algorithm": "filter_pruning",
            "ignored_scopes": "a",
            "target_scopes": ["b"],
            "initializer": {"batchnorm_adaptation": {}},
            "params": {"pruning_flops_target": 0.3, "schedule": "baseline"},
        }
    },
]


@pytest.mark.parametrize("data", ROUND_TRIPS)
def test_the_resolved_form_loads_to_an_equal_config(data, tmp_path: Path):
    config = examine_text(json.dumps(data), "config.json", tmp_path).require()
    elsewhere = tmp_path / "run"
    elsewhere.mkdir()
    (elsewhere / "config.json").write_text(json.dumps(config.to_dict()))
    outcome = examine_file(elsewhere / "config.json")
    again = outcome.require()
    assert replace(again, directory=config.directory) == config
    assert all("that of its values" in one.message for one in outcome.diagnostics)
    assert config.to_dict() == again.to_dict()


def test_ranking_coefficients_lie_beside_the_config_wherever_it_is_written_to(tmp_path: Path):
    data = learned(load_ranking_coeffs_path="sub/ranking.json")
    config = examine_text(json.dumps(data), "c", tmp_path).require()
    assert config.filter_pruning.params.load_ranking_coeffs_path == f"{tmp_path}/sub/ranking.json"
    elsewhere = examine_text(json.dumps(config.to_dict()), "c", tmp_path / "runs" / "c-1").require()
    assert elsewhere.compression == config.compression


def test_a_plugin_file_is_found_beside_the_config(tmp_path: Path):
    plugins = {
        name: examine_text(json.dumps(pruning() | {"plugin": name}), "c", tmp_path).require().plugin
        for name in ("plugin.py", "sub/plugin.py:Mine", "/abs/plugin.py", "package.module:Mine")
    }
    assert plugins == {
        "plugin.py": f"{tmp_path}/plugin.py",
        "sub/plugin.py:Mine": f"{tmp_path}/sub/plugin.py:Mine",
        "/abs/plugin.py": "/abs/plugin.py",
        "package.module:Mine": "package.module:Mine",
    }


def test_a_dicts_faults_have_no_lines():
    with pytest.raises(ConfigError) as caught:
        AccAwareConfig.from_dict(
            pruning() | {"seed": float("nan"), "metric": {1: 2}, "plugin_args": {"a": {2}}}
        )
    assert sorted(str(one) for one in caught.value.diagnostics) == [
        "metric.1: is a key that is not a string",
        "plugin_args.a: a set is not JSON data",
        "seed: nan is not a number that a config can hold",
    ]


def test_standard_input_is_a_file_like_any_other(tmp_path: Path):
    assert examine_bytes(DOCUMENTATION.encode(), "-", tmp_path).config is not None
    (one,) = examine_bytes(b"\xff", "-", tmp_path).diagnostics
    assert (one.file, one.line, one.column) == ("-", 1, 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            pruning()
            | {
                "compression": {
                    "algorithm": "filter_pruning",
                    "pruning_init": 0.1,
                    "params": {"pruning_steps": 15, "num_init_steps": 2, "pruning_target": 0.4},
                }
            },
            Exponential(0.1, 0.4, 14, 2),
        ),
        (
            pruning()
            | {
                "compression": {
                    "algorithm": "filter_pruning",
                    "params": {"schedule": "exponential_with_bias", "pruning_flops_target": 0.3},
                }
            },
            ExponentialWithBias(0.0, 0.3, 99, 0),
        ),
        (
            pruning()
            | {
                "compression": {
                    "algorithm": "filter_pruning",
                    "params": {"schedule": "baseline", "num_init_steps": 3},
                }
            },
            Baseline(0.5, 3),
        ),
        (sparsity(power=2, concave=False), Polynomial(0.0, 0.5, 90, 2.0, False)),
        (sparsity(schedule="exponential", sparsity_target_epoch=4), Exponential(0.0, 0.5, 4)),
        (sparsity(schedule="multistep"), MultiStep((90,), (0.1, 0.5))),
        (sparsity(schedule="adaptive", patience=3), Adaptive(0.0, 0.5, 3)),
    ],
)
def test_an_algorithms_config_names_its_schedule(data, expected):
    (algorithm,) = AccAwareConfig.from_dict(data).compression
    assert schedule_of(algorithm) == expected


QUANTIZATION = schema("quantization")
DATACLASSES = [
    (AdaptiveParams, schema("adaptive_compression_level")),
    (EarlyExitParams, schema("early_exit")),
    (FilterPruningConfig, schema("filter_pruning")),
    (FilterPruningParams, properties(schema("filter_pruning"))["params"]),
    (LegrParams, properties(properties(schema("filter_pruning"))["params"])["legr_params"]),
    (MagnitudeSparsityConfig, schema("magnitude_sparsity")),
    (MagnitudeSparsityParams, properties(schema("magnitude_sparsity"))["params"]),
    (OptimizerConfig, schema("optimizer")),
    (Metric, properties(schema("config"))["metric"]),
    (AccAwareConfig, schema("config")),
    (TaskConfig, schema("config")),
    (BatchNormAdaptation, schema("common#batchnorm_adaptation")),
    (QuantizationConfig, QUANTIZATION),
    (WeightsQuantization, properties(QUANTIZATION)["weights"]),
    (ActivationsQuantization, properties(QUANTIZATION)["activations"]),
    (ScopeOverrides, properties(QUANTIZATION)["scope_overrides"]),
    (WeightOverride, schema("quantization#weight_override")),
    (ActivationOverride, schema("quantization#activation_override")),
    (QuantizationInitializer, properties(QUANTIZATION)["initializer"]),
    (RangeInitializer, schema("quantization#range")),
    (RangeParams, properties(schema("quantization#range"))["params"]),
    (KnowledgeDistillationConfig, schema("knowledge_distillation")),
    (Initializer, schema("common#initializer")),
    (InputInfo, schema("input_info")),
]


@pytest.mark.parametrize(("of", "its_schema"), DATACLASSES)
def test_the_schemas_defaults_are_the_dataclasses(of: type[Any], its_schema: dict[str, Any]):
    known = properties(its_schema)
    for one in fields(of):
        if one.name in ("directory", "task"):  # not a key; not an object of its own
            continue
        assert one.name in known, f"{one.name} has no schema"
        default = _json_default(one)
        if default is not None:
            assert known[one.name]["default"] == default
            assert type(known[one.name]["default"]) is type(default)
        else:
            assert "default" not in known[one.name]


def _json_default(one: Field[Any]) -> Any:
    """The default as JSON, None for a section's and where there is none or it is None."""
    if one.name == "algorithm" or one.default is MISSING or one.default is None:
        return None
    if isinstance(one.default, tuple):
        return (
            list(one.default)
            if one.name in ("multistep_steps", "multistep_sparsity_levels", "steps")
            else None
        )
    return one.default


def test_every_schema_is_a_valid_draft_2020_12_schema():
    from jsonschema.validators import Draft202012Validator

    folder = Path(sys.modules["accaware.config.schema.catalog"].__file__ or "").parent / "schema"
    for file in folder.glob("*.json"):
        whole = json.loads(file.read_text())
        Draft202012Validator.check_schema(whole)
        Draft202012Validator.check_schema(schema(file.stem))
        for name in definitions(file.stem) if "$defs" in whole else ():
            Draft202012Validator.check_schema(schema(f"{file.stem}#{name}"))


def test_configs_are_read_where_torch_cannot_be_imported(tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(DOCUMENTATION)
    script = f"""
import sys
for name in ("torch", "torchvision", "rich", "typer", "numpy"):
    sys.modules[name] = None
from accaware import AccAwareConfig
print(AccAwareConfig.from_json({str(file)!r}).compression[0].params.filter_importance)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "geometric_median\n"


def test_an_unreadable_file_raises_what_is_reported_of_it(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        AccAwareConfig.from_json(tmp_path / "none.json")
    assert caught.value.diagnostics == examine_file(tmp_path / "none.json").diagnostics


def test_what_has_no_effect_is_a_python_warning_at_the_callers_line():
    with pytest.warns(ConfigWarning, match="log_dir: is ignored") as caught:
        AccAwareConfig.from_dict(pruning() | {"log_dir": "logs"})
    assert caught[0].filename == __file__
