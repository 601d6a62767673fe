"""The compression controller: what compresses one model, under NNCF's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.errors import CheckpointError, UsageError
from accaware.pytorch.channels.compact import replace_data, tensors_of
from accaware.pytorch.channels.layout import ExcludedLayer, KeptMasks, same_masks
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.compression.calibration import Preparation
from accaware.pytorch.compression.distillation import Distillation
from accaware.pytorch.compression.pruning.reconstruction import Reconstruction
from accaware.pytorch.compression.sizes import SizeReference
from accaware.pytorch.model.wrappers import recompile, unwrapped
from accaware.pytorch.quantization.quantization import Quantization
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes
from accaware.search.metric import DenseReferences
from accaware.search.ports import Runner, TrainingCallbacks
from accaware.search.schedules.several import ScheduleConfig, combined, scheduler_of
from accaware.search.training_loop import SEARCHED


class CompressionStage(Enum):
    """How far the schedule has come."""

    UNCOMPRESSED = 0
    PARTIALLY_COMPRESSED = 1
    FULLY_COMPRESSED = 2


@dataclass(frozen=True)
class CompressionStatistics:
    """How far the model is compressed now.

    Attributes:
        compression_rate: achieved, in [0, 1].
        target_rate: the last one asked for.
        sizes: parameters, FLOPs and filters, dense against now.
        quantizers: empty where nothing is quantized.
    """

    algorithm: str
    compression_rate: float
    target_rate: float
    sizes: ModelSizes
    quantizers: Sequence[QuantizerInfo] = ()

    def to_str(self) -> str:
        """A few lines for a log."""
        rows = [self.algorithm, f"asked for: {self.target_rate:.1%}"]
        for name in ("parameters", "nonzero_parameters", "flops", "filters"):
            size = getattr(self.sizes, name)
            rows.append(f"{name.replace('_', ' ')}: {size.compressed:,} of {size.dense:,}")
        rows += [each.to_str() for each in self.quantizers]
        return "\n".join(rows)


MakeRunner = Callable[
    [
        nn.Module,
        "PTCompressionController",
        TrainingCallbacks,
        str | None,
        DenseReferences | None,
    ],
    Runner,
]


class PTCompressionController:
    """Compresses a model to any rate, reports what was achieved, and walks its schedule.

    Made by :func:`accaware.pytorch.create_compressed_model`. The model stays as it is until a rate
    is set or the scheduler takes its first ``epoch_step()``.

    Args:
        model: what the algorithm compresses, or a wrapper around it.
        algorithm: what the rate is about.
        schedules: a schedule for each level that the algorithm has.
        reference: the dense model's sizes.
        make_runner: gives the Runner of a loop that drives this controller.
        quantization: quantizes whatever the rate is, once it is active.
        distillation: adds to the training loss.
        preparations: done in this order whenever the model has a new rate.
        reconstruction: done by the algorithm itself when channels go.
        makes_zeros: whether the algorithm holds weights at zero.
    """

    def __init__(
        self,
        model: nn.Module,
        algorithm: CompressionAlgorithm,
        schedules: Sequence[ScheduleConfig],
        reference: SizeReference,
        make_runner: MakeRunner,
        *,
        quantization: Quantization | None = None,
        distillation: Distillation | None = None,
        preparations: Sequence[Preparation] = (),
        reconstruction: Reconstruction | None = None,
        makes_zeros: bool = False,
    ) -> None:
        self._handed_over = model
        self._model = unwrapped(model)
        self._algorithm = algorithm
        self._reference = reference
        self._make_runner = make_runner
        self._makes_zeros = makes_zeros
        self._target = 0.0
        self._optimizers: tuple[Optimizer, ...] = ()
        self.quantization = quantization
        self.distillation = distillation
        self.preparations = tuple(preparations)
        self._reconstruction = reconstruction
        self.after_change: Callable[[], None] = lambda: None
        """Called when the model is another network: other channels, zeros, values, statistics."""
        self._unprepared = False
        self.scheduler = scheduler_of(schedules, self._enter_levels, self._enter_epoch)

    @property
    def model(self) -> nn.Module:
        """The model that was handed over, in its wrapper if it came in one."""
        return self._model

    @property
    def algorithm(self) -> CompressionAlgorithm:
        """What compresses the model."""
        return self._algorithm

    @property
    def left_out(self) -> Sequence[ExcludedLayer]:
        """The former name of ``excluded``, for scripts that ask for it."""
        return self.excluded

    @property
    def excluded(self) -> Sequence[ExcludedLayer]:
        """Layers that can't or shouldn't be compressed, each with its reason."""
        if self.quantization is None:
            return self._algorithm.excluded
        floating = (
            replace(each, reason=f"not quantized: {each.reason}")
            for each in self.quantization.excluded
        )
        return (*self._algorithm.excluded, *floating)

    @property
    def compression_rate(self) -> float:
        """What is achieved, measured on the model, in [0, 1]. Set it to ask for a rate.

        Rate 0 is the dense model's: nothing is removed, and nothing is quantized.
        """
        return self._algorithm.compression_rate

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        if target > 0:
            self._set_rate(target)
            return
        self._algorithm.set_rate(target, self._optimizers)
        self._target = target
        self._unprepared = False
        if self.quantization is not None:
            self.quantization.active = False
        recompile(self._handed_over)
        self.after_change()

    @property
    def maximal_compression_rate(self) -> float:
        """The highest rate that the algorithm can reach on this model."""
        return self._algorithm.maximal_compression_rate

    @property
    def model_sparsity(self) -> float | None:
        """The share of all the model's parameters that are zero; None where none is held there."""
        if not self._makes_zeros:
            return None
        parameters = list(self._model.parameters())
        nonzero = sum(int(parameter.count_nonzero()) for parameter in parameters)
        return 1 - nonzero / sum(parameter.numel() for parameter in parameters)

    def compression_stage(self) -> CompressionStage:
        """Where the schedule stands."""
        if self.scheduler.fully_compressed:
            return CompressionStage.FULLY_COMPRESSED
        if self.scheduler.current_level > 0:
            return CompressionStage.PARTIALLY_COMPRESSED
        return CompressionStage.UNCOMPRESSED

    def loss(self) -> Tensor:
        """A term to add to the training loss: knowledge distillation's, else zero.

        Raises:
            UsageError: knowledge distillation, and the model wasn't called in training mode.
        """
        if self.distillation is not None:
            return self.distillation.loss()
        device = next(self._model.parameters()).device
        return torch.zeros((), device=device)

    def statistics(self) -> CompressionStatistics:
        """What is compressed now: in words, as rates, as sizes, and each quantizer."""
        parts = (self._algorithm, self.quantization, self.distillation)
        return CompressionStatistics(
            "; ".join(part.describe() for part in parts if part is not None),
            self.compression_rate,
            self._target,
            self.sizes(),
            self.quantizers(),
        )

    def warnings(self) -> Sequence[str]:
        """What the user should know of how the model is compressed now."""
        quantized = () if self.quantization is None else self.quantization.warnings()
        return (*self._algorithm.warnings(), *quantized)

    def quantizers(self) -> list[QuantizerInfo]:
        """Every quantizer with its range, bits and granularity; none where nothing is quantized."""
        if self.quantization is None or not self.quantization.active:
            return []
        return self.quantization.table()

    def sizes(self) -> ModelSizes:
        """Parameters, FLOPs, filters and bytes on disk: dense, and as the model is now."""
        return self._reference.compare(self._model, self._algorithm.kept_masks())

    def layers(self) -> Sequence[LayerSizes]:
        """The same of each layer with parameters, in the order of the network."""
        return self._reference.compare_layers(self._model)

    def kept_filters(self) -> Mapping[str, int]:
        """How many filters each layer that has some has now, in the order of the network."""
        return self._reference.filters(self._model)

    def attach_optimizer(self, optimizer: Optimizer) -> None:
        """Follow an optimizer: its state changes shape with the model, its steps keep zeros.

        The loops call this for the optimizers that ``configure_optimizers_fn`` returns; a
        training script of its own calls it once after making its optimizer.
        """
        if any(optimizer is known for known in self._optimizers):
            return
        self._optimizers = (*self._optimizers, optimizer)
        self._algorithm.attach(optimizer)
        if self.distillation is not None:
            optimizer.register_step_post_hook(lambda *_: self.end_training_step())

    def end_training_step(self) -> None:
        """Let go of what the training step held: outputs that were to be compared."""
        if self.distillation is not None:
            self.distillation.forget()

    def release_optimizers(self) -> None:
        """Forget all optimizers; fresh ones are about to be made."""
        self._optimizers = ()

    def state_dict(self) -> dict[str, Any]:
        """Everything to bring model and controller back: tensors, and choices."""
        return {
            "tensors": {name: tensor.detach() for name, tensor in tensors_of(self._model).items()},
            "algorithm": self._algorithm.state_dict(),
            "quantization": self.quantization and self.quantization.state_dict(),
            "target_rate": self._target,
            "unprepared": self._unprepared,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put model and controller where ``state_dict`` was taken.

        Raises:
            CheckpointError: the state is another model's.
        """
        tensors = state["tensors"]
        self._algorithm.load_state_dict(state["algorithm"], tensors)
        with torch.no_grad():
            for name, tensor in tensors_of(self._model).items():
                _bring_back(name, tensor, tensors)
        if self.quantization is not None:
            self.quantization.load_state_dict(state["quantization"])
        self._target = state["target_rate"]
        self._unprepared = state["unprepared"]
        recompile(self._handed_over)
        self.after_change()

    def create_runner(
        self,
        model: nn.Module,
        callbacks: TrainingCallbacks,
        log_dir: str | None,
        references: DenseReferences | None = None,
    ) -> Runner:
        """The Runner that a loop drives.

        Args:
            references: what its measurements are paired with; by default nothing.

        Raises:
            UsageError: a loop has searched with this controller before.
        """
        if self.scheduler.current_epoch >= 0:
            raise UsageError(SEARCHED)
        return self._make_runner(model, self, callbacks, log_dir, references)

    def _enter_levels(self, levels: Sequence[float]) -> None:
        # Between two steps there is no time to measure what became of it, nor to prepare for it.
        within = self.scheduler.within_epoch
        before = None if within else self._achieved_for_preparations()
        self._algorithm.set_levels(levels, self._optimizers)
        self.after_change()
        self._target = combined(levels)
        if within:
            self._unprepared = True
        else:
            recompile(self._handed_over)
            self._note_change(before)

    def _enter_epoch(self) -> None:
        """Prepare for levels that came at any step since the last epoch began, or come with it.

        A level may be 0, at which the model is trained, and quantized, all the same.
        """
        if self.quantization is not None and not self.quantization.active:
            self._unprepared = True
        if self._unprepared and (self._target > 0 or self.quantization is not None):
            self._prepare()

    def _set_rate(self, target: float) -> None:
        before = self._achieved_for_preparations()
        self._algorithm.set_rate(target, self._optimizers)
        self.after_change()
        self._target = target
        recompile(self._handed_over)
        self._note_change(before)
        if self._unprepared or (self.quantization is not None and not self.quantization.active):
            self._prepare()

    def recalibrate(self) -> None:
        """Prepare for other weights at the same rate, such as an average of them."""
        device = next(self._model.parameters()).device
        for preparation in self.preparations:
            if preparation.for_average:
                preparation.prepare(self._model, device)

    def watch_preparations(self, watched: Callable[[Preparation], Preparation]) -> None:
        """Put in the place of all that looks at training samples what ``watched`` makes of it."""
        self.preparations = tuple(map(watched, self.preparations))
        if self._reconstruction is not None:
            self._reconstruction.measurement = watched(self._reconstruction.measurement)

    def _achieved_for_preparations(self) -> tuple[KeptMasks, float] | None:
        """None where nothing is to be prepared: measuring the rate reads every weight."""
        return (self._algorithm.kept_masks(), self.compression_rate) if self.preparations else None

    def _note_change(self, before: tuple[KeptMasks, float] | None) -> None:
        if before is not None:
            masks, rate = before
            same = rate == self.compression_rate and same_masks(masks, self._algorithm.kept_masks())
            self._unprepared = self._unprepared or not same

    def _prepare(self) -> None:
        self._unprepared = False
        if not self.preparations:
            return
        if self.quantization is not None:
            self.quantization.active = False
        device = next(self._model.parameters()).device
        for preparation in self.preparations:
            preparation.prepare(self._model, device)
        self.after_change()


def _bring_back(name: str, tensor: Tensor, saved: Mapping[str, Tensor]) -> None:
    """Give a tensor of the model its value of a checkpoint.

    Raises:
        CheckpointError: a parameter has another shape, or the checkpoint hasn't got it.
    """
    value = saved.get(name)
    if value is not None and value.shape == tensor.shape:
        tensor.data.copy_(value)
    elif value is not None and not isinstance(tensor, nn.Parameter):
        # A buffer that the forward lets grow is as large as it was then.
        replace_data(tensor, value.to(tensor, copy=True))
    else:
        found = "no such tensor" if value is None else list(value.shape)
        raise CheckpointError(
            f"the checkpoint is another model's: of {name} it has {found}, and the model has "
            f"{list(tensor.shape)}"
        )
