"""A metric that knows its samples, and what a compressed model's says beside the dense one's."""

from __future__ import annotations

import math
import reprlib
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from accaware.errors import PluginContractError

_SCALES = (1.0, 100.0)
"""A share, and percent."""

_CLOSE = 1e-4
"""How far a value may be from the scaled mean of its samples, relatively: it may be rounded."""


class Metric(float):
    """What a plugin's ``validate`` may return in place of a number: it is one, with its samples.

    From the samples follow the standard error of a drop, paired with the dense model's values of
    the same samples, and how many samples a drop is.
    """

    per_sample: array[float] | None
    scale: float

    def __new__(cls, value: Any, per_sample: Any = None) -> Metric:
        """A float, whose samples are checked.

        Args:
            value: the metric; a number, or a tensor or an array of one element.
            per_sample: of each sample of the validation data one number, in the same order at each
                validation: 1 or 0 for right or wrong, an absolute error. A 1-d sequence, array or
                tensor. ``value`` has to be their mean, or 100 times that; a metric that is no mean
                over samples (an F-score, a root of a mean) has none to give. None for a bare
                number.

        Raises:
            PluginContractError: ``per_sample`` isn't one number a sample, or ``value`` is neither.
        """
        metric = super().__new__(cls, value)
        metric.per_sample, metric.scale = None, 1.0
        if per_sample is not None and math.isfinite(metric):
            samples = _numbers(per_sample)
            metric.per_sample, metric.scale = samples, _scale_of(metric, samples)
        return metric

    def __reduce__(self) -> tuple[type[Metric], tuple[float, array[float] | None]]:
        """What a copy of it is made from."""
        return Metric, (float(self), self.per_sample)


@dataclass(frozen=True)
class Measurement:
    """A compressed model's metric.

    Attributes:
        standard_error: of its difference to the dense model's, in the metric's units; None where
            the samples of one of them aren't known, or there is but one.
    """

    value: float
    standard_error: float | None = None

    @property
    def recorded(self) -> Any:
        """As JSON has it: a number where there is no more to it."""
        return self.value if self.standard_error is None else asdict(self)

    @classmethod
    def of_recorded(cls, recorded: Any) -> Measurement:
        """What ``recorded`` gave, now or in an earlier version."""
        return cls(**recorded) if isinstance(recorded, dict) else cls(recorded)


@dataclass(frozen=True)
class BaselineMetric:
    """The dense model's metric.

    Attributes:
        standard_error: of the metric itself, as a mean over so many samples; for samples that are
            right or wrong, the binomial sqrt(p (1 - p) / n).
        samples: how many these are; None where the metric isn't known to be a mean over samples.
        sample_unit: by how much the metric changes with one sample that is right or wrong; None
            where samples are more or less so.
    """

    value: float
    standard_error: float | None = None
    samples: int | None = None
    sample_unit: float | None = None

    @classmethod
    def of(cls, metric: float | BaselineMetric) -> BaselineMetric:
        """What there is to say of a metric, a :class:`Metric` or a bare number."""
        if isinstance(metric, BaselineMetric):
            return metric
        samples, scale = _samples_of(metric)
        if samples is None:
            return cls(float(metric))
        counts = all(value in (0, 1) for value in samples)
        return cls(
            float(metric),
            _standard_error(samples, scale),
            len(samples),
            scale / len(samples) if counts else None,
        )

    @property
    def recorded(self) -> Any:
        """As JSON has it: a number where there is no more to it."""
        return self.value if self.samples is None else asdict(self)

    @classmethod
    def of_recorded(cls, recorded: Any) -> BaselineMetric:
        """What ``recorded`` gave, now or in an earlier version."""
        return cls(**recorded) if isinstance(recorded, dict) else cls(float(recorded))


class DenseReference:
    """The dense model's values of the samples of one part of the data, to pair others with."""

    def __init__(self, metric: float | None = None) -> None:
        self._samples, self._scale = _samples_of(metric)

    def take(self, metric: float) -> BaselineMetric:
        """Pair with this metric's samples from here on, which is the dense model's."""
        self._samples, self._scale = _samples_of(metric)
        return BaselineMetric.of(metric)

    def measured(self, metric: float) -> Measurement:
        """A compressed model's metric on the same samples, in the same order.

        The standard error is that of a mean of paired differences: s(d) / sqrt(n), d the dense
        model's value less the compressed one's, s with n - 1 degrees of freedom.

        Raises:
            PluginContractError: it isn't the mean of its samples on the dense model's scale.
        """
        compressed, scale = _samples_of(metric)
        dense = self._samples
        if dense is None or compressed is None or len(dense) != len(compressed):
            return Measurement(float(metric))
        if any(dense):
            scale = self._scale  # of zeros alone it isn't known
        if not _fits(float(metric), compressed, scale):
            raise PluginContractError(
                f"the value of a Metric was {scale:g} times the mean of per_sample for the "
                f"dense model; now the value is {float(metric):.6g} and the mean "
                f"{_mean(compressed):.6g}"
            )
        differences = [before - after for before, after in zip(dense, compressed, strict=True)]
        return Measurement(float(metric), _standard_error(differences, scale))

    def state_dict(self) -> dict[str, Any]:
        """The samples as bytes, None where there are none."""
        samples = None if self._samples is None else self._samples.tobytes()
        return {"samples": samples, "scale": self._scale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what ``state_dict`` gave."""
        samples = state["samples"]
        self._samples = None if samples is None else array("d", bytes(samples))
        self._scale = state["scale"]


@dataclass(frozen=True)
class DenseReferences:
    """Of the data that trials are judged by, and of those that confirm the final model."""

    validation: DenseReference = field(default_factory=DenseReference)
    confirmation: DenseReference = field(default_factory=DenseReference)

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {
            "validation": self.validation.state_dict(),
            "confirmation": self.confirmation.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what ``state_dict`` gave."""
        self.validation.load_state_dict(state["validation"])
        self.confirmation.load_state_dict(state["confirmation"])


def _samples_of(metric: float | None) -> tuple[array[float] | None, float]:
    """Those of a Metric, and what their mean is multiplied by; a bare number has none."""
    return (metric.per_sample, metric.scale) if isinstance(metric, Metric) else (None, 1.0)


def _numbers(per_sample: Any) -> array[float]:
    values = per_sample.tolist() if hasattr(per_sample, "tolist") else per_sample
    try:
        samples = array("d", map(float, values))
    except (TypeError, ValueError):
        samples = array("d")
    if samples and all(map(math.isfinite, samples)):
        return samples
    text = " ".join(reprlib.repr(values).split())
    raise PluginContractError(
        f"per_sample of a Metric must hold one finite number for each sample, in one dimension; "
        f"it is {text}"
    )


def _mean(samples: array[float]) -> float:
    return math.fsum(samples) / len(samples)


def _fits(value: float, samples: array[float], scale: float) -> bool:
    return math.isclose(value, scale * _mean(samples), rel_tol=_CLOSE, abs_tol=1e-9)


def _scale_of(value: float, samples: array[float]) -> float:
    for scale in _SCALES:
        if _fits(value, samples, scale):
            return scale
    raise _no_mean(value, samples)


def _no_mean(value: float, samples: array[float]) -> PluginContractError:
    return PluginContractError(
        f"the value of a Metric must be the mean of per_sample, or 100 times that; the value is "
        f"{float(value):.6g} and the mean {_mean(samples):.6g}. A metric that is no mean over "
        "samples is returned as a bare number"
    )


def _standard_error(values: Iterable[float], scale: float) -> float | None:
    """Of the mean of the values, scaled; None for one value."""
    listed = list(values)
    count = len(listed)
    if count < 2:
        return None
    mean = math.fsum(listed) / count
    variance = math.fsum((value - mean) ** 2 for value in listed) / (count - 1)
    return scale * math.sqrt(variance / count)
