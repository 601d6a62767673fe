"""The Runner of one of several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from accaware.pytorch.distributed.agreement import agreed, is_first
from accaware.pytorch.training.runner import TorchRunner
from accaware.search.metric import Measurement
from accaware.search.trial import Checkpoint

T = TypeVar("T")


class DistributedRunner:
    """A Runner that is one of several: the first decides, and all load what it has kept.

    The losses and metrics of the first process count in all of them, and its wish to stop, so
    that they go the same way. It alone writes checkpoints, and sends them to the others when
    they are loaded. How gradients are averaged is the user's affair; the weights have to be the
    same everywhere when a rate is set, as filters are judged by them.

    Args:
        runner: of this process.
    """

    def __init__(self, runner: TorchRunner) -> None:
        self._runner = runner
        self._is_first = is_first()

    def agree(self, value: T) -> T:
        """What the first process says, for all of them."""
        return agreed(value)

    def start(self, lr_factor: float) -> None:
        """Make a fresh optimizer in each process."""
        self._runner.start(lr_factor)

    def anneal(self, share: float) -> None:
        """Lower the learning rate in each process."""
        self._runner.anneal(share)

    def train_epoch(self, epoch: int) -> float | None:
        """Train in all processes; the loss is the first one's."""
        return self.agree(self._runner.train_epoch(epoch))

    def validate(self, epoch: int) -> Measurement:
        """Validate in all processes; the metric is the first one's."""
        return self.agree(self._runner.validate(epoch))

    def confirm(self, epoch: int) -> Measurement:
        """The same on the data that confirm the final model."""
        return self.agree(self._runner.confirm(epoch))

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None:
        """Step each process's own learning-rate schedule."""
        self._runner.end_epoch(epoch, loss, metric)

    def asks_to_stop(self, metric: float) -> bool:
        """What the first process's early stopping says; all are asked."""
        return self.agree(self._runner.asks_to_stop(metric))

    def warnings(self) -> Sequence[str]:
        """The first process's; the others say nothing."""
        return self._runner.warnings() if self._is_first else ()

    def save(self, name: str) -> Checkpoint:
        """Only the first process writes a file; the others know its name."""
        return self._runner.save(name) if self._is_first else Checkpoint(name)

    def load(self, checkpoint: Checkpoint) -> None:
        """The first process reads the file, and all take its state over."""
        kept = self._runner.kept(checkpoint) if self._is_first else (None, None)
        self._runner.bring_back(self.agree(kept))

    def discard(self, checkpoint: Checkpoint) -> None:
        """Only the first process has files to remove."""
        if self._is_first:
            self._runner.discard(checkpoint)
