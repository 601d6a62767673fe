"""A config for a command that works with the model: the file, the options, then the plugin."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from accaware.config.load import AccAwareConfig, Outcome, examine_file
from accaware.config.model.plugin_path import located
from accaware.errors import ConfigError, TaskError, UsageError
from accaware.plugins.load import load_plugin
from accaware.plugins.plugin import Plugin
from accaware.report.diagnostics import diagnostic_line

BUILT_IN = "accaware.pytorch.builtin.torchvision:TorchvisionTask"
"""Runs a config that names a model, but no plugin."""


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """The options that change keys of the config; None and False where they weren't said."""

    plugin: str | None = None
    data: Path | None = None
    download: bool = False
    device: str | None = None
    seed: int | None = None
    settings: tuple[str, ...] = ()

    def as_settings(self) -> tuple[str, ...]:
        """All of them as ``key=value``."""
        own = {
            # In a config, a relative path would start at the config's folder.
            "plugin": located(self.plugin, Path.cwd()) if self.plugin else None,
            "dataset_dir": str(self.data.expanduser().absolute()) if self.data else None,
            "download": self.download or None,
            "device": self.device,
            "seed": self.seed,
        }
        said = (f"{key}={json.dumps(value)}" for key, value in own.items() if value is not None)
        return (*self.settings, *said)


class LoadedConfig:
    """A config that can be used as far as its text tells, and the way to its plugin.

    Raises:
        UsageError: it can't be used.
    """

    def __init__(self, path: Path, overrides: Overrides) -> None:
        self._outcome = examine_file(path, overrides.as_settings())
        self.config: AccAwareConfig = self._outcome.require()
        for diagnostic in self._outcome.warnings:
            print(diagnostic_line(diagnostic), file=sys.stderr)
        if not has_plugin(self.config):
            raise UsageError(
                f'{path}: there is no plugin: add "plugin": "your_file.py" to it, or name one with '
                '--plugin; or name one of torchvision\'s models, as in "model": "resnet18", and a '
                '"dataset"'
            )

    def plugin(self) -> Plugin:
        """The plugin, imported and checked.

        Raises:
            UsageError: it can't be used; for a built-in one with the places of all faults.
        """
        plugin = plugin_of(self.config, self._outcome)
        if self.config.task is not None and not plugin.takes_config:
            print(
                f"warning: plugin {plugin.name} has no use for model, dataset and other keys of "
                "the built-in one: it isn't a class that takes the config",
                file=sys.stderr,
            )
        return plugin


def has_plugin(config: AccAwareConfig) -> bool:
    """Whether there is one, of the user's or the built-in one."""
    return config.plugin is not None or (config.task is not None and config.task.model is not None)


def plugin_of(config: AccAwareConfig, outcome: Outcome) -> Plugin:
    """The plugin that a loaded config names, or the built-in one.

    Args:
        outcome: knows the places of the config's keys.

    Raises:
        UsageError: it can't be used.
        PluginFailure: the user's code raised.
    """
    spec = config.plugin or BUILT_IN
    try:
        return load_plugin(spec, config.plugin_args, config.directory, config)
    except TaskError as error:
        told = outcome.refused(*error.faults).diagnostics
        raise ConfigError([one for one in told if one.severity == "error"]) from error
