"""A validated config, as frozen dataclasses that mirror the JSON. Defaults live here alone.

The `accuracy_aware_training` section's classes are the search's own, in accaware.search.params;
those of quantization have a module of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from accaware.config.model.initializers import Initializer
from accaware.config.model.quantization import QuantizationConfig
from accaware.config.model.task import TaskConfig
from accaware.errors import UsageError
from accaware.search.params import AdaptiveParams, SearchParams


@dataclass(frozen=True, kw_only=True)
class LegrParams:
    """Of learned ranking: how many candidates are tried, how each is, and how they evolve."""

    generations: int = 400
    train_steps: int = 200
    max_pruning: float = 0.5
    random_seed: int = 42
    population_size: int = 64
    num_samples: int = 16
    mutate_percent: float = 0.1
    scale_sigma: float = 1.0


@dataclass(frozen=True, kw_only=True)
class FilterPruningParams:
    """``pruning_flops_target``, where set, stands in place of ``pruning_target``.

    ``all_weights`` is true where ``allocation`` is global, and only there.

    In a loaded config the paths of ranking coefficients are absolute.
    """

    schedule: str = "exponential"
    pruning_target: float = 0.5
    pruning_flops_target: float | None = None
    num_init_steps: int = 0
    pruning_steps: int = 100
    filter_importance: str = "L2"
    interlayer_ranking_type: str = "unweighted_ranking"
    allocation: str = "uniform"
    all_weights: bool = False
    coupled_importance: str = "mean"
    max_layer_pruning: float = 0.95
    prune_first_conv: bool = False
    prune_downsample_convs: bool = False
    prune_batch_norms: bool = True
    channel_multiple: int = 1
    reconstruction_samples: int = 0
    legr_params: LegrParams = field(default_factory=LegrParams)
    save_ranking_coeffs_path: str | None = None
    load_ranking_coeffs_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class FilterPruningConfig:
    """A section `filter_pruning`: whole filters go."""

    algorithm: str = "filter_pruning"
    pruning_init: float = 0.0
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    validate_scopes: bool = True
    initializer: Initializer = field(default_factory=Initializer)
    params: FilterPruningParams = field(default_factory=FilterPruningParams)


@dataclass(frozen=True, kw_only=True)
class MagnitudeSparsityParams:
    """With schedule multistep, ``sparsity_target`` is the last of the levels.

    With ``sparsity_pattern`` 2:4 the rate is 0.5 from the first epoch on; it has no schedule.
    """

    schedule: str = "polynomial"
    sparsity_target: float = 0.5
    sparsity_target_epoch: int = 90
    sparsity_freeze_epoch: int = 100
    power: float = 0.9
    concave: bool = True
    update_per_optimizer_step: bool = False
    steps_per_epoch: int | None = None
    multistep_steps: tuple[int, ...] = (90,)
    multistep_sparsity_levels: tuple[float, ...] = (0.1, 0.5)
    patience: int = 1
    sparsity_level_setting_mode: str = "global"
    weight_importance: str = "normed_abs"
    sparsity_pattern: str = "unstructured"
    sparsify_embeddings: bool = False


@dataclass(frozen=True, kw_only=True)
class MagnitudeSparsityConfig:
    """A section `magnitude_sparsity`: single weights become zero."""

    algorithm: str = "magnitude_sparsity"
    sparsity_init: float = 0.0
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    validate_scopes: bool = True
    initializer: Initializer = field(default_factory=Initializer)
    params: MagnitudeSparsityParams = field(default_factory=MagnitudeSparsityParams)


@dataclass(frozen=True, kw_only=True)
class KnowledgeDistillationConfig:
    """``type`` is mse; softmax or kl, which are the same; or auto, which is one of the two.

    ``temperature`` counts for all but mse.
    """

    algorithm: str = "knowledge_distillation"
    type: str
    scale: float = 1.0
    temperature: float = 1.0


LevelledConfig = FilterPruningConfig | MagnitudeSparsityConfig
"""Algorithms with a level that a schedule raises and the search sets."""

AlgorithmConfig = LevelledConfig | QuantizationConfig | KnowledgeDistillationConfig

Section = TypeVar("Section", bound=AlgorithmConfig)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What the plugin's validate measures, and which way is better.

    ``reduce`` is what counts of several processes, each of which calls the plugin's own validate:
    the first one's (first), or the mean over all (mean).
    """

    name: str = "top1"
    higher_is_better: bool = True
    reduce: str = "first"


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """NNCF's `optimizer` section, for plugins that configure no optimizer themselves.

    Schedules count epochs. ``type`` is SGD, Adam or AdamW; ``schedule_type`` is multistep, step,
    plateau, poly, exponential or cosine, None for a constant learning rate. Learning rate, weight
    decay, steps, step, gamma and power are in their own fields, wherever the file has them;
    ``optimizer_params`` and ``schedule_params`` hold keyword arguments of the classes in
    torch.optim alone (momentum, nesterov, betas; plateau's factor, patience, threshold).
    """

    type: str = "SGD"
    base_lr: float = 0.01
    weight_decay: float = 0.0
    schedule_type: str | None = None
    steps: tuple[int, ...] = ()
    step: int = 30
    gamma: float = 0.1
    power: float = 0.9
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    schedule_params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InputInfo:
    """A sample's shape, batch first."""

    sample_size: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole config, checked and with its defaults filled in.

    ``directory`` is where relative paths in the config start: the file's folder. A ``plugin``
    that is a file has its absolute path here. ``task`` is None where none of its keys is given;
    in the JSON they stand at the top. ``batch_size_total``, where set, stands in place of
    ``batch_size``. ``resources_per_trial`` and ``maximal_trial_restarts`` count with ``engine``
    ray.
    """

    accuracy_aware_training: SearchParams
    compression: tuple[AlgorithmConfig, ...]
    metric: Metric = field(default_factory=Metric)
    plugin: str | None = None
    plugin_args: Mapping[str, Any] = field(default_factory=dict)
    input_info: tuple[InputInfo, ...] = ()
    batch_size: int = 64
    batch_size_total: int | None = None
    sync_batchnorm: bool = False
    num_workers: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    task: TaskConfig | None = None
    device: str = "auto"
    engine: str = "in_process"
    resources_per_trial: Mapping[str, float] = field(default_factory=dict)
    maximal_trial_restarts: int = 3
    seed: int = 0
    export: tuple[str, ...] = ()
    report: bool = True
    trackers: tuple[str, ...] = ()
    directory: Path = field(default_factory=Path)

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger metric is the better one."""
        return self.metric.higher_is_better

    def batch_size_of(self, processes: int) -> int:
        """Samples of a batch in each of so many processes.

        Raises:
            UsageError: they can't share batch_size_total equally.
        """
        if self.batch_size_total is None:
            return self.batch_size
        share, rest = divmod(self.batch_size_total, processes)
        if rest:
            raise UsageError(
                f"batch_size_total: {self.batch_size_total} samples can't be shared equally by "
                f"{processes} processes"
            )
        return share

    @property
    def mode(self) -> str:
        """The search's mode, by the class of its parameters."""
        adaptive = isinstance(self.accuracy_aware_training, AdaptiveParams)
        return "adaptive_compression_level" if adaptive else "early_exit"

    @property
    def filter_pruning(self) -> FilterPruningConfig | None:
        """The section of this name; None where there is none."""
        return self._section(FilterPruningConfig)

    @property
    def magnitude_sparsity(self) -> MagnitudeSparsityConfig | None:
        """The section of this name; None where there is none."""
        return self._section(MagnitudeSparsityConfig)

    @property
    def levelled(self) -> tuple[LevelledConfig, ...]:
        """The algorithms whose level a schedule raises: one at most where a search sets it."""
        sections = self.filter_pruning, self.magnitude_sparsity
        return tuple(section for section in sections if section is not None)

    @property
    def quantization(self) -> QuantizationConfig | None:
        """The section of this name; None where there is none."""
        return self._section(QuantizationConfig)

    @property
    def knowledge_distillation(self) -> KnowledgeDistillationConfig | None:
        """The section of this name; None where there is none."""
        return self._section(KnowledgeDistillationConfig)

    def _section(self, of: type[Section]) -> Section | None:
        """A mix has an algorithm once at most."""
        return next((one for one in self.compression if isinstance(one, of)), None)
