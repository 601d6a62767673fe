"""A model on which any trial can be run, and whose trials can be gone on with anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from accaware.errors import CheckpointError, UnkeepableError, UsageError
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.state.state_files import StateFiles
from accaware.pytorch.training.runner import TorchRunner
from accaware.pytorch.training.snapshots import TorchSnapshots
from accaware.pytorch.trials.setup import SearchSetup
from accaware.results import strict_json
from accaware.rundir.atomic import write_atomically
from accaware.search.trials.order import TrialOrder, TrialProgress

_ORIGIN = "origin"


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
        try:
            content = json.loads(self._marker(order.number).read_text("utf-8"))
            if content["order"] != order.identity:
                return None
            self._at_first.load(_ORIGIN, self.origin)
            self._within.load(content["state"], content["digests"])
            if content["best"] is not None:
                self.runner.files.load_state_dict(content["best"])
            return TrialProgress.from_dict(content["progress"])
        except (OSError, ValueError, KeyError, TypeError, CheckpointError):
            return None  # half written, or damaged: the trial begins anew

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
        text = strict_json.line(content).encode("utf-8")
        write_atomically(self._marker(order.number), lambda file: file.write(text), durable=False)
        if len(progress.epochs) > 1:
            self._within.discard(f"trial-{order.number}-state-{len(progress.epochs) - 1}")

    def forget(self, trial: int) -> None:
        """Remove what is kept of a trial's last epoch."""
        marker = self._marker(trial)
        try:
            content = json.loads(marker.read_text("utf-8"))
            self._within.discard(content["state"])
        except (OSError, ValueError, KeyError, TypeError, CheckpointError):
            pass
        marker.unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Remove what another attempt at this run left of its trials."""
        for marker in self._folder.glob("trial-*.json"):
            marker.unlink(missing_ok=True)

    def _marker(self, trial: int) -> Path:
        return self._folder / f"trial-{trial}.json"
