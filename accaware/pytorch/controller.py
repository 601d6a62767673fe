"""The compression controller: what compresses one model, under NNCF's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.pytorch.channels import KeptMasks, LeftOut, same_masks
from accaware.pytorch.compact import tensors_of
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.compression.distillation import Distillation
from accaware.pytorch.preparations import Preparation
from accaware.pytorch.quantization.quantization import Quantization
from accaware.pytorch.sizes import SizeReference
from accaware.pytorch.wrappers import recompile, unwrapped
from accaware.rundir.quantizers import QuantizerInfo
from accaware.rundir.sizes import ModelSizes
from accaware.search.callbacks import TrainingCallbacks
from accaware.search.side_by_side import Pace, combined, scheduler_of


class CompressionStage(Enum):
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


class PTCompressionController:
    """Compresses a model to any rate, reports what was achieved, and walks its schedule.

    Made by :func:`accaware.pytorch.create_compressed_model`. The model is untouched until a rate
    is set or the scheduler takes its first ``epoch_step()``.

    Args:
        model: what the algorithm compresses, or a wrapper around it.
        algorithm: what the rate is about.
        paces: a schedule for each level that the algorithm has.
        quantization: rounds whatever the rate is, once it is active.
        distillation: adds to the training loss.
        preparations: done in this order whenever the model has a new rate.
    """

    def __init__(
        self,
        model: nn.Module,
        algorithm: CompressionAlgorithm,
        paces: Sequence[Pace],
        reference: SizeReference,
        *,
        quantization: Quantization | None = None,
        distillation: Distillation | None = None,
        preparations: Sequence[Preparation] = (),
    ) -> None:
        self._handed_over = model
        self._model = unwrapped(model)
        self._algorithm = algorithm
        self._reference = reference
        self._target = 0.0
        self._optimizers: tuple[Optimizer, ...] = ()
        self.quantization = quantization
        self.distillation = distillation
        self.preparations = tuple(preparations)
        self.scheduler = scheduler_of(paces, self._enter_levels)

    @property
    def model(self) -> nn.Module:
        return self._model

    @property
    def algorithm(self) -> CompressionAlgorithm:
        return self._algorithm

    @property
    def left_out(self) -> Sequence[LeftOut]:
        """Layers that can't or shouldn't be compressed, each with its reason."""
        if self.quantization is None:
            return self._algorithm.left_out
        floating = (
            LeftOut(each.layer, f"not quantized: {each.reason}")
            for each in self.quantization.left_out
        )
        return (*self._algorithm.left_out, *floating)

    @property
    def compression_rate(self) -> float:
        """What is achieved, measured on the model, in [0, 1]. Set it to ask for a rate.

        Rate 0 is the untouched model's: nothing is removed, and nothing is rounded.
        """
        return self._algorithm.compression_rate

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        if target > 0:
            self._compress(target, lambda: self._algorithm.set_rate(target, self._optimizers))
            return
        self._algorithm.set_rate(target, self._optimizers)
        self._target = target
        if self.quantization is not None:
            self.quantization.active = False
        recompile(self._handed_over)

    @property
    def maximal_compression_rate(self) -> float:
        return self._algorithm.maximal_compression_rate

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
        parts = (self._algorithm, self.quantization, self.distillation)
        return CompressionStatistics(
            "; ".join(part.describe() for part in parts if part is not None),
            self.compression_rate,
            self._target,
            self.sizes(),
            self.quantizers(),
        )

    def quantizers(self) -> list[QuantizerInfo]:
        """Every quantizer with its range, bits and granularity; none where nothing is rounded."""
        if self.quantization is None or not self.quantization.active:
            return []
        return self.quantization.table()

    def sizes(self) -> ModelSizes:
        """Parameters, FLOPs, filters and bytes on disk: dense, and as the model is now."""
        return self._reference.compare(self._model, self._algorithm.kept_masks())

    def attach_optimizer(self, optimizer: Optimizer) -> None:
        """Follow an optimizer: its state changes shape with the model, its steps keep zeros.

        The loops call this for the optimizers that ``configure_optimizers_fn`` returns; a
        training script of its own calls it once after making its optimizer.
        """
        if any(optimizer is known for known in self._optimizers):
            return
        self._optimizers = (*self._optimizers, optimizer)
        self._algorithm.attach(optimizer)

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
                tensor.data.copy_(tensors[name])
        if self.quantization is not None:
            self.quantization.load_state_dict(state["quantization"])
        self._target = state["target_rate"]
        recompile(self._handed_over)

    def create_runner(
        self, model: nn.Module, callbacks: TrainingCallbacks, log_dir: str | None
    ) -> Any:
        """The Runner that a loop drives."""
        from accaware.pytorch.processes import DistributedRunner, is_one_of_several
        from accaware.pytorch.runner import TorchRunner

        runner = TorchRunner(model, self, callbacks, log_dir)
        return DistributedRunner(runner) if is_one_of_several() else runner

    def _enter_levels(self, levels: Sequence[float]) -> None:
        """A schedule's level may be 0, at which the model is trained, and rounded, all the same."""

        def put() -> None:
            self._algorithm.set_levels(levels, self._optimizers)

        target = combined(levels)
        if target > 0 or self.quantization is not None:
            self._compress(target, put)
        else:
            put()
            self._target = target
            recompile(self._handed_over)

    def _compress(self, target: float, put: Callable[[], None]) -> None:
        # Measuring the rate reads every weight, so it is done for the preparations alone.
        before = self._achieved() if self.preparations else None
        put()
        self._target = target
        recompile(self._handed_over)
        if before is None:
            return
        masks, rate = before
        rounded = self.quantization is None or self.quantization.active
        unchanged = rounded and rate == self.compression_rate
        if unchanged and same_masks(masks, self._algorithm.kept_masks()):
            return
        if self.quantization is not None:
            self.quantization.active = False
        device = next(self._model.parameters()).device
        for preparation in self.preparations:
            preparation.prepare(self._model, device)

    def _achieved(self) -> tuple[KeptMasks, float]:
        return self._algorithm.kept_masks(), self.compression_rate
