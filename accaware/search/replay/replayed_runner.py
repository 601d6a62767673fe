"""A runner whose answers are recorded, and whose checkpoints outlive the snapshots before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from accaware.search.metric import Measurement
from accaware.search.ports import Runner
from accaware.search.replay.replay import Replay
from accaware.search.trial import Checkpoint

T = TypeVar("T")


class ReplayedRunner:
    """Passes everything on to ``runner``, but for what the recording answers.

    Going back to a snapshot must find the checkpoints that there were at its time. So none is
    written twice, each save has a number of its own, and what is replaced or discarded stays
    until :meth:`sweep`.
    """

    def __init__(self, runner: Runner, replay: Replay) -> None:
        self._runner = runner
        self._replay = replay
        self._saves = 0
        self._wanted: dict[str, Checkpoint] = {}
        self._unwanted: set[Checkpoint] = set()

    def agree(self, value: T) -> T:
        """The runner's own agreement, in a replay too: every process replays the same answers."""
        return self._runner.agree(value)

    def start(self, lr_factor: float) -> None:
        """Make a fresh optimizer, but not in a replay: the snapshot brings one."""
        self._replay.act(lambda: self._runner.start(lr_factor))

    def anneal(self, share: float) -> None:
        """Lower the learning rate, but not in a replay: the snapshot brings the lowered one."""
        self._replay.act(lambda: self._runner.anneal(share))

    def train_epoch(self, epoch: int) -> float | None:
        """The recorded loss of the epoch, or that of training it now."""
        return self._replay.answer("train_epoch", lambda: self._runner.train_epoch(epoch))

    def validate(self, epoch: int) -> Measurement:
        """The recorded metric of the epoch, or the one that is measured now."""
        return self._measured("validate", self._runner.validate, epoch)

    def confirm(self, epoch: int) -> Measurement:
        """The same on the data that no trial is judged by."""
        return self._measured("confirm", self._runner.confirm, epoch)

    def _measured(
        self, call: str, measure: Callable[[int], Measurement], epoch: int
    ) -> Measurement:
        return Measurement.of_recorded(self._replay.answer(call, lambda: measure(epoch).recorded))

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None:
        """Step the learning-rate schedule, but not in a replay."""
        self._replay.act(lambda: self._runner.end_epoch(epoch, loss, metric))

    def asks_to_stop(self, metric: float) -> bool:
        """What the user's early stopping said then, or says now."""
        return self._replay.answer("asks_to_stop", lambda: self._runner.asks_to_stop(metric))

    def warnings(self) -> Sequence[str]:
        """Those of the epoch that was just trained; none in a replay."""
        # What there was to say of a replayed epoch was said when it was trained.
        return () if self._replay.replaying else self._runner.warnings()

    def save(self, name: str) -> Checkpoint:
        """Save under a name and a number; in a replay the same number names the save of then."""
        self._saves += 1
        numbered = f"{name}-save-{self._saves}"
        checkpoint = Checkpoint(numbered)
        if not self._replay.replaying:
            checkpoint = self._runner.save(numbered)
        if name in self._wanted:
            self._unwanted.add(self._wanted[name])
        self._wanted[name] = checkpoint
        return checkpoint

    def note(self, checkpoint: Checkpoint) -> None:
        """Know of a checkpoint that others have saved, or that is known already."""
        if checkpoint not in self._wanted.values():
            self._wanted[checkpoint] = checkpoint

    def load(self, checkpoint: Checkpoint) -> None:
        """Bring a checkpoint back, but not in a replay: the snapshot brings what came of it."""
        self._replay.act(lambda: self._runner.load(checkpoint))

    def discard(self, checkpoint: Checkpoint) -> None:
        """Let the next :meth:`sweep` remove a checkpoint."""
        self._wanted = {name: its for name, its in self._wanted.items() if its != checkpoint}
        self._unwanted.add(checkpoint)

    @property
    def wanted(self) -> frozenset[Checkpoint]:
        """The checkpoints that may be asked for."""
        return frozenset(self._wanted.values())

    def sweep(self, keep: frozenset[Checkpoint]) -> None:
        """Discard what is no longer wanted, but for ``keep``."""
        for checkpoint in sorted(self._unwanted - keep):
            self._runner.discard(checkpoint)
            self._unwanted.discard(checkpoint)
