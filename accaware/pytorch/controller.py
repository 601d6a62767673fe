"""The compression controller: one algorithm on one model, under NNCF's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.pytorch.batchnorm import adapt_batchnorm
from accaware.pytorch.channels import LeftOut, same_masks
from accaware.pytorch.compact import tensors_of
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.sizes import SizeReference
from accaware.rundir.sizes import ModelSizes
from accaware.search.callbacks import TrainingCallbacks
from accaware.search.scheduler import CompressionScheduler
from accaware.search.schedules import Schedule


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
    """

    algorithm: str
    compression_rate: float
    target_rate: float
    sizes: ModelSizes

    def to_str(self) -> str:
        """A few lines for a log."""
        rows = [self.algorithm, f"asked for: {self.target_rate:.1%}"]
        for name in ("parameters", "nonzero_parameters", "flops", "filters"):
            size = getattr(self.sizes, name)
            rows.append(f"{name.replace('_', ' ')}: {size.compressed:,} of {size.dense:,}")
        return "\n".join(rows)


class BatchNormAdapter:
    """Re-estimates batch norm statistics whenever the model has a new rate.

    Args:
        batches: a data loader of training data.
        samples: how many to use each time.
        after_batch: told how many samples were seen so far.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        samples: int,
        after_batch: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.batches = batches
        self.samples = samples
        self._after_batch = after_batch

    def adapt(self, model: nn.Module, device: torch.device) -> None:
        adapt_batchnorm(model, self.batches, self.samples, device, self._after_batch)


class PTCompressionController:
    """Compresses a model to any rate, reports what was achieved, and walks its schedule.

    Made by :func:`accaware.pytorch.create_compressed_model`. The model is dense until a rate is
    set or the scheduler takes its first ``epoch_step()``.
    """

    def __init__(
        self,
        model: nn.Module,
        algorithm: CompressionAlgorithm,
        schedule: Schedule,
        reference: SizeReference,
        *,
        per_optimizer_step: bool = False,
        steps_per_epoch: int | None = None,
        freeze_epoch: int | None = None,
        adapter: BatchNormAdapter | None = None,
    ) -> None:
        self._model = model
        self._algorithm = algorithm
        self._reference = reference
        self._target = 0.0
        self._optimizers: tuple[Optimizer, ...] = ()
        self.adapter = adapter
        self.scheduler = CompressionScheduler(
            schedule,
            self._set_rate,
            per_optimizer_step=per_optimizer_step,
            steps_per_epoch=steps_per_epoch,
            freeze_epoch=freeze_epoch,
        )

    @property
    def model(self) -> nn.Module:
        return self._model

    @property
    def algorithm(self) -> CompressionAlgorithm:
        return self._algorithm

    @property
    def left_out(self) -> Sequence[LeftOut]:
        """Layers that can't or shouldn't be compressed, each with its reason."""
        return self._algorithm.left_out

    @property
    def compression_rate(self) -> float:
        """What is achieved, measured on the model, in [0, 1]. Set it to ask for a rate."""
        return self._algorithm.compression_rate

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        self._set_rate(target)

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
        """The algorithm's own term of the training loss: a zero, as none of them has one."""
        device = next(self._model.parameters()).device
        return torch.zeros((), device=device)

    def statistics(self) -> CompressionStatistics:
        return CompressionStatistics(
            self._algorithm.describe(), self.compression_rate, self._target, self.sizes()
        )

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
        """Everything to bring model and controller back: tensors in dense form, and choices."""
        tensors = {name: tensor.detach() for name, tensor in tensors_of(self._model).items()}
        return {
            "tensors": {**tensors, **self._algorithm.dense_tensors()},
            "algorithm": self._algorithm.state_dict(),
            "target_rate": self._target,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put model and controller where ``state_dict`` was taken.

        Raises:
            CheckpointError: the state is another model's.
        """
        tensors = state["tensors"]
        dense = self._algorithm.dense_tensors()
        self._algorithm.load_state_dict(state["algorithm"], tensors)
        with torch.no_grad():
            for name, tensor in tensors_of(self._model).items():
                if name not in dense:
                    tensor.data.copy_(tensors[name])
        self._target = state["target_rate"]

    def create_runner(
        self, model: nn.Module, callbacks: TrainingCallbacks, log_dir: str | None
    ) -> Any:
        """The Runner that a loop drives."""
        from accaware.pytorch.runner import TorchRunner

        return TorchRunner(model, self, callbacks, log_dir)

    def _set_rate(self, target: float) -> None:
        if self.adapter is None or target <= 0:
            self._compress(target)
            return
        # Measuring the rate reads every weight, so it is done for the adapter alone.
        masks, rate = self._algorithm.kept_masks(), self.compression_rate
        self._compress(target)
        if rate != self.compression_rate or not same_masks(masks, self._algorithm.kept_masks()):
            self.adapter.adapt(self._model, next(self._model.parameters()).device)

    def _compress(self, target: float) -> None:
        self._algorithm.set_rate(target, self._optimizers)
        self._target = target
