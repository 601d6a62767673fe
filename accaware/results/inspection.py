"""What there is to know about a model and its compression before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.results import strict_json


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer of the dense model.

    Attributes:
        kind: its class.
        parameters: its own, without those of layers within it; shared ones count once.
        flops: of one forward of the example inputs.
        seconds: in one such forward, the median; None where the forward doesn't call it.
        part: the number of the part of the model that it loses filters or weights with.
    """

    name: str
    kind: str
    parameters: int
    flops: int
    seconds: float | None
    part: int | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is compressed as one: a group of coupled channels, or a weight.

    Attributes:
        name: of the layer that stands for it, or of the weight where that isn't its layer's only.
        layers: all whose filters go together, or that which has the weight.
        size: channels, or weights.
        least: how many of them stay whatever the rate is.
        saved_parameters, saved_flops: shares of the model's, where half of this part alone goes.
    """

    number: int
    name: str
    layers: tuple[str, ...]
    size: int
    least: int
    saved_parameters: float
    saved_flops: float


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What an epoch costs at a rate.

    Attributes:
        rate: what was asked for.
        achieved: what came of it.
        parameters, flops: of the model then.
        step_seconds: of one training batch, its loading included, the median; None where the
            training took no batch.
        epoch_seconds: of as many as an epoch has; None where that isn't known.
    """

    rate: float
    achieved: float
    parameters: int
    flops: int
    step_seconds: float | None
    epoch_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class PartSensitivity:
    """The metrics after the shares of this part alone were removed, nothing trained."""

    part: int
    metrics: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How much the metric depends on each part.

    Attributes:
        samples: validation samples that it was measured on.
        baseline: the dense model's metric on them.
        shares: of a part that were removed, rising.
    """

    samples: int
    baseline: float
    shares: tuple[float, ...]
    parts: tuple[PartSensitivity, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All of it.

    Attributes:
        model: the class.
        algorithm: what the rate is about: filter_pruning, magnitude_sparsity, both (with "with"
            between them), or quantization.
        rate_of: what the rate is a share of: filters, FLOPs, weights, bits, or filters and weights.
        forward_seconds: of the example inputs, the median.
        steps_per_epoch: training batches; None where the loader doesn't know.
        left_out: layers that aren't compressed, each with the reason.
        sensitivity: None where none was asked for.
    """

    model: str
    device: str
    algorithm: str
    rate_of: str
    parameters: int
    flops: int
    forward_seconds: float
    maximal_rate: float
    steps_per_epoch: int | None
    layers: tuple[LayerCost, ...]
    parts: tuple[Part, ...]
    left_out: tuple[tuple[str, str], ...]
    training: tuple[TrainingCost, ...]
    sensitivity: Sensitivity | None

    @property
    def has_groups(self) -> bool:
        """Whether the parts are channels that go together, and not single layers."""
        return self.algorithm.startswith("filter_pruning")

    def to_json(self) -> str:
        """The fields above, times in seconds."""
        return strict_json.document(self)
