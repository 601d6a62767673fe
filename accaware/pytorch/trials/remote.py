"""A run's bench in another process: made from what can be sent to it."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accaware
from accaware.config.model.config import RunConfig
from accaware.plugins.built_in import spec_of
from accaware.plugins.load import load_plugin
from accaware.plugins.plugin import Plugin
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.model.device import named_device
from accaware.pytorch.state.state_files import Parcel
from accaware.pytorch.training.task import PluginTask
from accaware.pytorch.trials.bench import TorchBench
from accaware.pytorch.trials.setup import SearchSetup
from accaware.ray.bench import BenchFactory, Surroundings
from accaware.search.events import Event
from accaware.search.replay.replay import Replay


@dataclass(frozen=True)
class RemoteSetup:
    """What a bench elsewhere is to have in common with the run's own.

    Attributes:
        answers: that the run's setup got, of its baseline and the like; so nothing is measured
            twice.
        origin: how everything is before the first trial.
    """

    answers: Sequence[tuple[str, Any]]
    origin: Parcel


def surroundings(config: RunConfig) -> Surroundings:
    """Of this process."""
    versions = {
        "accaware": accaware.__version__,
        "python": platform.python_version(),
        "torch": version("torch"),
    }
    return Surroundings(versions, named_device(config.device).type)


def bench_factory(config: RunConfig) -> BenchFactory:
    """For workers to which the config is sent."""
    return BenchFactory(partial(_look, config), partial(_make, config))


def _look(config: RunConfig) -> Surroundings:
    _plugin(config)
    return surroundings(config)


def _make(config: RunConfig, setup: RemoteSetup, check: Callable[[], None]) -> TorchBench:
    # Goes with the process.
    folder = Path(tempfile.mkdtemp(prefix="accaware-trials-"))
    seed_everything(config.seed)
    task = PluginTask(config, _plugin(config), named_device(config.device), (_Watch(check),))
    made = SearchSetup(config, task, folder, Replay(setup.answers), lambda message: None)
    bench = TorchBench(made, folder, config.seed)
    bench.unpack_origin(setup.origin)
    return bench


def _plugin(config: RunConfig) -> Plugin:
    return load_plugin(spec_of(config.plugin), config.plugin_args, config.directory, config)


class _Watch:
    """Asks between batches whether to go on."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def notify(self, event: Event) -> None:
        """Ask."""
        self._check()
