"""A model on which any trial can be run, and whose trials can be gone on with anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.errors import CheckpointError, UnkeepableError, UsageError
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.state.state_files import Parcel, StateFiles
from accaware.pytorch.training.runner import TorchRunner
from accaware.pytorch.training.snapshots import TorchSnapshots
from accaware.pytorch.trials.setup import SearchSetup
from accaware.results import strict_json
from accaware.rundir.atomic import write_atomically
from accaware.search.trial import Checkpoint
from accaware.search.trials.order import TrialOrder, TrialProgress

_ORIGIN = "origin"


_MARKED = {"order", "state", "digests", "progress", "best"}


@dataclass(frozen=True)
class TrialParcel:
    """A trial on its way to another bench: what is marked of it, its state, its best weights."""

    content: Mapping[str, Any]
    state: Parcel
    best: Parcel | None

    @property
    def name(self) -> str:
        """By which it is told from those of other epochs."""
        return self.state.name

    @property
    def files(self) -> frozenset[str]:
        """That whoever received it has."""
        best = self.best.state["digests"] if self.best is not None else {}
        return frozenset({*self.state.state["digests"], *best})


class TorchBench:
    """Brings a search's setup to where it was at first before each trial, and keeps each epoch.

    Beside the state of a trial's last epoch there is a small file that names it, with the order
    of the trial and the state's digests: what doesn't fit is as good as not there.

    Args:
        folder: of the states, that of the runner's checkpoints.
        seed: of the run; each trial has one of its own that follows from it.
    """

    def __init__(self, setup: SearchSetup, folder: Path, seed: int) -> None:
        self._setup = setup
        self._folder = folder
        self._seed = seed
        self._files = StateFiles(folder)
        parts = setup.parts
        self._at_first = TorchSnapshots(
            self._files, {part: parts[part] for part in ("compression", "training", "plugin")}
        )
        # What doesn't change within a trial needn't be kept with each of its epochs.
        self._within = TorchSnapshots(self._files, {**parts, "compression": setup.controller})
        self.origin: Mapping[str, str] = {}
        """The digests that ``save_origin`` gave."""

    @property
    def controller(self) -> PTCompressionController:
        """What compresses the model."""
        return self._setup.controller

    @property
    def runner(self) -> TorchRunner:
        """What trains it."""
        return self._setup.runner

    def save_origin(self) -> dict[str, str]:
        """Keep how everything is before the first trial.

        Raises:
            UsageError: some of it can't be kept.
        """
        try:
            return self._at_first.save(_ORIGIN)
        except UnkeepableError as error:
            raise UsageError(
                f"parallel_trials needs a training whose state can be kept: {error}"
            ) from error

    def reset(self, trial: int) -> None:
        """Go back to the origin, with random numbers of the trial's own."""
        self._at_first.load(_ORIGIN, self.origin)
        digest = hashlib.sha256(f"{self._seed} {trial}".encode()).digest()
        self._setup.randomness.restart(int.from_bytes(digest[:4], "big"))

    def resume(self, order: TrialOrder) -> TrialProgress | None:
        """Go on with a trial whose last epoch is in this folder, whole and of this very order."""
        kept = self._kept(order)
        if kept is None:
            return None
        try:
            self._at_first.load(_ORIGIN, self.origin)
            self._within.load(kept["state"], kept["digests"])
            if kept["best"] is not None:
                self.runner.files.know(kept["best"])
            return TrialProgress.from_dict(kept["progress"])
        except (KeyError, TypeError, CheckpointError):
            return None  # damaged: the trial begins anew

    def keep(self, order: TrialOrder, progress: TrialProgress) -> None:
        """Write the state behind an epoch, then the file that names it; the one before it goes."""
        best = order.record(progress.compression_rate, progress.epochs).checkpoint
        name = f"trial-{order.number}-state-{len(progress.epochs)}"
        digests = self._within.save(name)
        content = {
            "order": order.identity,
            "state": name,
            "digests": digests,
            "progress": progress.to_dict(),
            "best": best and self.runner.files.state_of(best),
        }
        self._mark(order.number, content)
        if len(progress.epochs) > 1:
            self._within.discard(f"trial-{order.number}-state-{len(progress.epochs) - 1}")

    def forget(self, trial: int) -> None:
        """Remove what is kept of a trial's last epoch."""
        kept = self._marked(trial)
        if kept is not None:
            self._within.discard(kept["state"])
        self._marker(trial).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Remove what another attempt at this run left of its trials."""
        for marker in self._folder.glob("trial-*.json"):
            marker.unlink(missing_ok=True)

    # Between processes ---------------------------------------------------------------------

    def packed(self, checkpoint: Checkpoint) -> Parcel:
        """A checkpoint, to be sent."""
        return self.runner.files.packed(checkpoint)

    def unpack(self, parcel: Parcel) -> None:
        """Have a checkpoint that was sent."""
        self.runner.files.receive(parcel)

    def packed_origin(self) -> Parcel:
        """How everything is before the first trial, to be sent."""
        self._know(_ORIGIN, self.origin)
        return self._files.packed(_ORIGIN)

    def unpack_origin(self, parcel: Parcel) -> None:
        """Begin where another bench began."""
        self._files.receive(parcel)
        self.origin = parcel.state["digests"]

    def packed_trial(self, order: TrialOrder, sent: Set[str] = frozenset()) -> TrialParcel | None:
        """Where a trial was kept last, to be sent; None where it wasn't.

        Args:
            sent: files that the receiver has.
        """
        kept = self._kept(order)
        if kept is None:
            return None
        try:
            self._know(kept["state"], kept["digests"])
            best = kept["best"]
            if best is not None:
                self.runner.files.know(best)
                best = self.runner.files.packed(next(iter(best["needs"])), sent)
            return TrialParcel(kept, self._files.packed(kept["state"], sent), best)
        except (OSError, KeyError, TypeError, CheckpointError):
            return None  # damaged: the trial begins anew

    def unpack_trial(self, order: TrialOrder, parcel: TrialParcel) -> None:
        """Keep a trial as it was kept elsewhere."""
        before = self._marked(order.number)
        self._files.receive(parcel.state)
        if parcel.best is not None:
            self.runner.files.receive(parcel.best)
        self._mark(order.number, parcel.content)
        if before is not None and before["state"] != parcel.content["state"]:
            self._files.discard(before["state"])
        if before is not None and before["best"] not in (None, parcel.content["best"]):
            self.runner.files.discard(next(iter(before["best"]["needs"])))

    def leave(self, trial: int) -> None:
        """Nobody wants the weights of a trial."""
        kept = self._marked(trial)
        if kept is not None and kept["best"] is not None:
            self.runner.files.discard(next(iter(kept["best"]["needs"])))

    def _know(self, name: str, digests: Mapping[str, str]) -> None:
        """Know a state that a former process has written, and what it needs."""
        if not self._files.knows(name):
            self._files.know({"digests": {name: digests[name]}, "needs": {}})
            self._files.read(name)

    def _kept(self, order: TrialOrder) -> dict[str, Any] | None:
        """What is marked of a trial of this very order."""
        kept = self._marked(order.number)
        return kept if kept is not None and kept["order"] == order.identity else None

    def _mark(self, trial: int, content: Mapping[str, Any]) -> None:
        text = strict_json.line(content).encode("utf-8")
        write_atomically(self._marker(trial), lambda file: file.write(text), durable=False)

    def _marked(self, trial: int) -> dict[str, Any] | None:
        try:
            content: Any = json.loads(self._marker(trial).read_text("utf-8"))
        except (OSError, ValueError):
            return None  # not there, or half written
        whole = isinstance(content, dict) and content.keys() >= _MARKED
        return content if whole else None

    def _marker(self, trial: int) -> Path:
        return self._folder / f"trial-{trial}.json"
