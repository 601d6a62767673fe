"""A config's text to an AccAwareConfig, or to every fault of it at once.

A config can be made in Python too, and is checked when it is made, as a file is:

    from accaware.config import AccAwareConfig, AdaptiveParams, FilterPruningConfig

    AccAwareConfig(
        accuracy_aware_training=AdaptiveParams(
            maximal_relative_accuracy_degradation=1.0,
            initial_training_phase_epochs=10,
            patience_epochs=5,
        ),
        compression=(FilterPruningConfig(),),
    )

The names below load lazily.
"""

from typing import TYPE_CHECKING

from accaware.lazy import lazy_names

if TYPE_CHECKING:
    from accaware.config.load import (
        AccAwareConfig,
        ConfigWarning,
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
    from accaware.config.model.initializers import (
        BatchNormAdaptation,
        Initializer,
    )
    from accaware.config.model.quantization import (
        ActivationOverride,
        ActivationsQuantization,
        OverrideInitializer,
        QuantizationConfig,
        QuantizationInitializer,
        RangeInitializer,
        RangeParams,
        ScopeOverrides,
        WeightOverride,
        WeightsQuantization,
    )
    from accaware.config.model.task import (
        TaskConfig,
    )
    from accaware.search.params import (
        AdaptiveParams,
        EarlyExitParams,
    )

__all__ = [
    "AccAwareConfig",
    "ActivationOverride",
    "ActivationsQuantization",
    "AdaptiveParams",
    "BatchNormAdaptation",
    "ConfigWarning",
    "EarlyExitParams",
    "FilterPruningConfig",
    "FilterPruningParams",
    "Initializer",
    "InputInfo",
    "KnowledgeDistillationConfig",
    "LegrParams",
    "MagnitudeSparsityConfig",
    "MagnitudeSparsityParams",
    "Metric",
    "OptimizerConfig",
    "OverrideInitializer",
    "QuantizationConfig",
    "QuantizationInitializer",
    "RangeInitializer",
    "RangeParams",
    "ScopeOverrides",
    "TaskConfig",
    "WeightOverride",
    "WeightsQuantization",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "accaware.config.load": [
            "AccAwareConfig",
            "ConfigWarning",
        ],
        "accaware.config.model.config": [
            "FilterPruningConfig",
            "FilterPruningParams",
            "InputInfo",
            "KnowledgeDistillationConfig",
            "LegrParams",
            "MagnitudeSparsityConfig",
            "MagnitudeSparsityParams",
            "Metric",
            "OptimizerConfig",
        ],
        "accaware.config.model.initializers": [
            "BatchNormAdaptation",
            "Initializer",
        ],
        "accaware.config.model.quantization": [
            "ActivationOverride",
            "ActivationsQuantization",
            "OverrideInitializer",
            "QuantizationConfig",
            "QuantizationInitializer",
            "RangeInitializer",
            "RangeParams",
            "ScopeOverrides",
            "WeightOverride",
            "WeightsQuantization",
        ],
        "accaware.config.model.task": [
            "TaskConfig",
        ],
        "accaware.search.params": [
            "AdaptiveParams",
            "EarlyExitParams",
        ],
    },
)
