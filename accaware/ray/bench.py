"""What Ray's workers need of a bench beyond what running a trial does: its trials travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Protocol

from accaware.search.trial import Checkpoint
from accaware.search.trials.executor import TrialBench
from accaware.search.trials.order import TrialOrder


class TrialParcel(Protocol):
    """A trial on its way to another bench."""

    @property
    def name(self) -> str:
        """By which it is told from what was sent of another epoch."""

    @property
    def files(self) -> frozenset[str]:
        """That whoever received it has."""


class TravellingBench(TrialBench, Protocol):
    """A bench whose checkpoints and unfinished trials can be sent to one like it."""

    def packed(self, checkpoint: Checkpoint) -> Any:
        """A checkpoint, to be sent."""

    def unpack(self, parcel: Any) -> None:
        """Have a checkpoint that was sent."""

    def packed_trial(self, order: TrialOrder, sent: Set[str] = frozenset()) -> Any:
        """A TrialParcel of where a trial was kept last; None where it wasn't.

        Args:
            sent: files that the receiver has.
        """

    def unpack_trial(self, order: TrialOrder, parcel: Any) -> None:
        """Keep a trial as it was kept elsewhere."""

    def leave(self, trial: int) -> None:
        """Nobody wants the weights of a trial."""


@dataclass(frozen=True)
class Surroundings:
    """Where a bench would be, as far as it has to be the same everywhere.

    Attributes:
        versions: by the name of a package.
        device: its kind, as ``cuda``.
    """

    versions: Mapping[str, str]
    device: str


@dataclass(frozen=True)
class BenchFactory:
    """How a worker gets a bench; both functions are sent to it.

    Attributes:
        look: says where it is, and finds what needs no model: a plugin that can't be imported.
        make: ``(setup, check)``; ``setup`` is what the executor was given for it, and ``check`` is
            called between batches, where it may raise to leave a trial.
    """

    look: Callable[[], Surroundings]
    make: Callable[[Any, Callable[[], None]], TravellingBench]
