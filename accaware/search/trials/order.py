"""What a trial needs to be run anywhere, and what whoever runs it reports: values to be sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from accaware.search.trial import Checkpoint, Epoch, TrialPhase, TrialRecord
from accaware.search.trials.training import TrialRules


@dataclass(frozen=True, kw_only=True)
class TrialOrder:
    """A trial to be run. With the seed of the run, all of it follows from these.

    Attributes:
        epochs: at the most.
        start: the number of the trial that it starts from, None for the dense model's.
        checkpoint: of the weights that it starts from.
        first_epoch: the number of its first epoch. Trials of one round count side by side.
        known: achieved rates that need no training any more.
    """

    number: int
    phase: TrialPhase
    rate: float
    epochs: int
    lr_factor: float
    start: int | None
    checkpoint: Checkpoint
    first_epoch: int
    rules: TrialRules
    ends_within_budget: bool
    gives_up: bool
    known: frozenset[float] = frozenset()

    @property
    def identity(self) -> str:
        """By which this order is told from others, in any process."""
        return f"{replace(self, known=frozenset())} {sorted(self.known)}"

    def record(self, rate: float, epochs: Sequence[Epoch] = ()) -> TrialRecord:
        """With these epochs in it, whose best was kept; ``rate`` is what was achieved."""
        record = TrialRecord(
            number=self.number,
            phase=self.phase,
            target=self.rate,
            lr_factor=self.lr_factor,
            rate=rate,
            start=self.start,
        )
        for epoch in epochs:
            if record.add(epoch, self.rules.budget):
                record.keep(epoch, Checkpoint(self.name_of(epoch)))
        return record

    def name_of(self, epoch: Epoch) -> str:
        """Of the checkpoint of its best epoch, which is this one."""
        return f"trial-{self.number}-epoch-{epoch.number}"


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """Why a trial has no further epoch; with the defaults, as it has passed or had them all.

    Attributes:
        given_up: it wasn't expected to pass any more.
        stopped_by_user: the user's early stopping ended it.
        known: its achieved rate needs no training.
        failure: of whatever ran it, one clause; None where that worked.
    """

    given_up: bool = False
    stopped_by_user: bool = False
    known: bool = False
    failure: str | None = None


@dataclass(frozen=True)
class Began:
    """A trial's rate is set; ``worker`` is who runs it, None for this process."""

    trial: int
    compression_rate: float
    worker: str | None = None


@dataclass(frozen=True)
class EpochBegan:
    """An epoch of a trial is about to be trained."""

    trial: int
    number: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch of a trial; ``end`` where it was the last one. Told again after a restart."""

    trial: int
    epoch: Epoch
    end: TrialEnd | None = None


@dataclass(frozen=True)
class Ended:
    """A trial ends without a further epoch."""

    trial: int
    end: TrialEnd


@dataclass(frozen=True)
class Noted:
    """Something that the user should know, said once."""

    message: str


Report = Began | EpochBegan | EpochDone | Ended | Noted

_KINDS: dict[str, type[Report]] = {kind.__name__: kind for kind in (Began, EpochBegan, EpochDone)}
_KINDS["Ended"] = Ended


@dataclass(frozen=True)
class TrialProgress:
    """How far a trial has come: enough, with its model's state, to go on with it."""

    compression_rate: float
    epochs: tuple[Epoch, ...] = ()
    end: TrialEnd | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        content: dict[str, Any] = _recorded(asdict(self))
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrialProgress:
        """What ``to_dict`` gave."""
        end = content["end"]
        return cls(
            content["compression_rate"],
            tuple(map(_epoch, content["epochs"])),
            None if end is None else TrialEnd(**end),
        )


def recorded(report: Report) -> dict[str, Any]:
    """A report as JSON has it."""
    return {"report": type(report).__name__, **_recorded(asdict(report))}


def report_of(content: Mapping[str, Any]) -> Report:
    """What was recorded."""
    values = {key: value for key, value in content.items() if key != "report"}
    if "epoch" in values:
        values["epoch"] = _epoch(values["epoch"])
    if values.get("end") is not None:
        values["end"] = TrialEnd(**values["end"])
    return _KINDS[content["report"]](**values)


_MEASURED = ("loss", "metric", "standard_error")


def _recorded(value: Any) -> Any:
    """Numbers that JSON doesn't know become strings."""
    if isinstance(value, dict):
        return {key: _recorded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_recorded(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _epoch(content: Mapping[str, Any]) -> Epoch:
    known = {one.name for one in fields(Epoch)}
    values = {key: value for key, value in content.items() if key in known}
    for key in _MEASURED:
        if isinstance(values[key], str):
            values[key] = float(values[key])
    return Epoch(**values)
