"""Quantization as an algorithm: quantizers on a model, measured, switched, kept and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError, UsageError
from accaware.pytorch.channels.layout import ExcludedLayer
from accaware.pytorch.data.batch_statistics import batch_statistics
from accaware.pytorch.data.evaluation import evaluating, first_samples
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import attach, weight_name
from accaware.pytorch.quantization.plan import plan_quantization
from accaware.pytorch.quantization.quantizers import WeightQuantizer
from accaware.pytorch.quantization.ranges import estimator_of
from accaware.pytorch.quantization.settings import QuantizationSettings
from accaware.pytorch.weights.left_out import coverage_warning
from accaware.results.quantizers import QuantizerInfo

_MEASURED = ("low", "high", "scale", "zero_point")


class Quantization:
    """Holds weights and activations to a few bits, while it is active.

    Args:
        model: trained, as it came; its forward is changed from here on, its tensors are not.
        settings: what of it is quantized, and how.
        inputs: example inputs, to follow the model with.

    Raises:
        CompressionError: no layer is left to quantize.
    """

    name = "quantization"

    def __init__(
        self, model: nn.Module, settings: QuantizationSettings, inputs: ExampleInputs
    ) -> None:
        plan = plan_quantization(model, settings, inputs)
        self._model = model
        self._ranges = plan.ranges
        self.quantizers = plan.quantizers
        self.excluded: Sequence[ExcludedLayer] = plan.excluded
        attach(model, self.quantizers)
        tensors = {id(weight): weight for _, weight, _ in self._weights()}
        self._warnings = coverage_warning(self.name, model, tensors.values())

    @property
    def active(self) -> bool:
        """Whether anything is quantized; if not, the model computes what it always did."""
        return self.quantizers.active

    @active.setter
    def active(self, active: bool) -> None:
        self.quantizers.active = active

    @property
    def samples(self) -> int:
        """How many training samples the ranges are measured on."""
        return max((each.samples for each in self._ranges), default=0)

    @property
    def saved_bits(self) -> float:
        """The share of all parameters' bits that is saved while it is active, in [0, 1]."""
        dense = sum(8 * each.numel() * each.itemsize for each in self._model.parameters())
        saved = 0
        for _, weight, quantizer in self._weights():
            saved += weight.numel() * (8 * weight.itemsize - quantizer.bits)
        return saved / dense

    def measure(
        self,
        batches: Iterable[Any],
        device: torch.device,
        after_batch: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Measure all activations' ranges, with weights quantized and activations not yet.

        Batch norms normalise by each batch, as they do in training: behind a change of rate
        their running statistics may be those of another network. Nothing of the model changes.
        Values that aren't finite are left out.

        Args:
            batches: of training data.
            after_batch: told how many samples were seen so far.

        Raises:
            UsageError: there was no sample, or no finite value at a place.
        """
        activations = self.quantizers.activations
        estimators = [estimator_of(each) for each in self._ranges]
        seen = 0
        try:
            for quantizer, estimator in zip(activations, estimators, strict=True):
                quantizer.observer = estimator.observe
            with evaluating(self._model), batch_statistics(self._model):
                samples = first_samples(batches, self.samples, self._model, device, after_batch)
                for inputs, size in samples:
                    inputs.call(self._model)
                    seen += size
        finally:
            for quantizer in activations:
                quantizer.observer = None
        for quantizer, estimator in zip(activations, estimators, strict=True):
            measured = estimator.range()
            if measured is None:
                if seen:
                    raise UsageError(
                        f"quantization: the activations at {quantizer.name} had no finite value "
                        f"in {seen} training samples: look for inf and NaN in the data, or raise "
                        "num_init_samples"
                    )
                raise UsageError(
                    "quantization needs training data to measure the ranges of activations on: "
                    f"{seen} samples were seen at {quantizer.name}; num_init_samples is "
                    f"{self.samples}"
                )
            quantizer.fit(*measured)

    def state_dict(self) -> dict[str, Any]:
        """Ranges as plain numbers; what a weight's range is, the weight says."""
        return {
            "active": self.active,
            "activations": {
                quantizer.name: [getattr(quantizer, name) for name in _MEASURED]
                for quantizer in self.quantizers.activations
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over whether it is active, and the ranges.

        Raises:
            CheckpointError: the state is of other quantizers.
        """
        names = [quantizer.name for quantizer in self.quantizers.activations]
        if list(state["activations"]) != names:
            raise CheckpointError("the checkpoint's quantizers are not this model's")
        self.active = state["active"]
        for quantizer in self.quantizers.activations:
            for name, value in zip(_MEASURED, state["activations"][quantizer.name], strict=True):
                setattr(quantizer, name, value)

    def describe(self) -> str:
        """How many weights and activations are quantized, and to how many bits."""
        weights, activations = self.quantizers.weights, self.quantizers.activations
        bits = sorted({quantizer.bits for quantizer in self.quantizers.all()})
        return (
            f"quantization of {len(weights)} weights and {len(activations)} activations to "
            f"{' or '.join(map(str, bits))} bits"
        )

    def table(self) -> list[QuantizerInfo]:
        """Every quantizer, with the range that it has now."""
        rows = [
            QuantizerInfo(
                place=name,
                bits=quantizer.bits,
                mode=_mode(quantizer.symmetric),
                granularity="tensor" if quantizer.axis is None else "channel",
                range=quantizer.range(weight),
            )
            for name, weight, quantizer in self._weights()
        ]
        rows += [
            QuantizerInfo(
                place=activation.name,
                bits=activation.bits,
                mode=_mode(activation.symmetric),
                granularity="tensor",
                range=activation.range,
            )
            for activation in self.quantizers.activations
        ]
        return rows

    def warnings(self) -> Sequence[str]:
        """Where little of the model is quantized."""
        return self._warnings

    def _weights(self) -> Iterator[tuple[str, Tensor, WeightQuantizer]]:
        """The parameters that are quantized, with their names and quantizers."""
        parameters = dict(self._model.named_parameters(remove_duplicate=False))
        for place, quantizer in self.quantizers.weights.items():
            name = weight_name(place, parameters)
            yield name, parameters[name], quantizer


def _mode(symmetric: bool) -> str:
    return "symmetric" if symmetric else "asymmetric"
