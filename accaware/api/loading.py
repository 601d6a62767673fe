"""A config for work with the model: where it comes from, what changes it, then the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accaware.api.listener import RunListener
from accaware.api.overrides import Overrides
from accaware.config.load import AccAwareConfig, Outcome, examine_config, examine_file
from accaware.config.model.config import RunConfig
from accaware.errors import ConfigError, TaskError, UsageError
from accaware.plugins.built_in import spec_of
from accaware.plugins.load import load_plugin, plugin_of
from accaware.plugins.plugin import Plugin
from accaware.plugins.provenance import Provenance, is_handed_over
from accaware.rundir.directory import RunDirectory
from accaware.rundir.manifest import Manifest

ConfigSource = str | Path | AccAwareConfig | Mapping[str, Any]
"""A config, its data as ``json.load`` gives them, or the path of its file."""


class LoadedConfig:
    """A config that can be used as far as its text tells, and the way to its plugin.

    Raises:
        UsageError: it can't be used.
    """

    def __init__(self, source: ConfigSource, overrides: Overrides, listener: RunListener) -> None:
        self._name = source if isinstance(source, str | Path) else "the config"
        self._listener = listener
        self._outcome = _examined(source, overrides.as_settings())
        self._handed_over = overrides.handed_over
        self.config = self._outcome.require()
        for diagnostic in self._outcome.warnings:
            listener.config_warning(diagnostic)
        if self._handed_over is not None:
            self.config = _without_plugin(self.config)

    def plugin(self) -> Plugin:
        """The plugin, imported and checked.

        Raises:
            UsageError: there is none, or it can't be used; for a built-in one with the places of
                all faults.
            PluginFailure: the user's code raised.
        """
        if self._handed_over is None and not has_plugin(self.config):
            raise UsageError(
                f'{self._name}: there is no plugin: add "plugin": "your_file.py" to it, or name '
                f"one with {self._listener.option('plugin')}; or name one of torchvision's models, "
                'as in "model": "resnet18", and a "dataset"'
            )
        plugin = self._plugin()
        if not plugin.takes_config:
            told = self._outcome.with_unread_task(plugin.name)
            for diagnostic in told.warnings:
                if diagnostic not in self._outcome.warnings:
                    self._listener.config_warning(diagnostic)
        return plugin

    def provenance(self) -> Provenance:
        """Which code the plugin is, once it was imported."""
        if self._handed_over is not None:
            return Provenance.of_object(self._handed_over)
        config = self.config
        return Provenance.of_spec(config.plugin, config.plugin_args, config.directory)

    def _plugin(self) -> Plugin:
        config = self.config
        try:
            if self._handed_over is not None:
                return plugin_of(self._handed_over, config.plugin_args, config)
            return load_plugin(spec_of(config.plugin), config.plugin_args, config.directory, config)
        except TaskError as error:
            told = self._outcome.refused(*error.faults).diagnostics
            raise ConfigError([one for one in told if one.severity == "error"]) from error


def check_plugin_is_there(directory: RunDirectory, overrides: Overrides, function: str) -> None:
    """See that a run's plugin can be found, before its config is searched for one.

    Raises:
        UsageError: the run's plugin was handed over, and neither is it now nor named.
    """
    if overrides.plugin is not None or not directory.manifest.is_file():
        return
    name = Manifest.read(directory.manifest).plugin
    if is_handed_over(name):
        raise UsageError(
            f"{directory.path}: the run's plugin is {name}, handed over in Python: hand it over "
            f"again, accaware.{function}({str(directory.path)!r}, plugin=...)"
        )


def has_plugin(config: RunConfig) -> bool:
    """Whether there is one, of the user's or the built-in one."""
    return config.plugin is not None or (config.task is not None and config.task.model is not None)


def _examined(source: ConfigSource, settings: tuple[str, ...]) -> Outcome:
    if isinstance(source, str | Path):
        return examine_file(Path(source), settings)
    return examine_config(source, settings)


def _without_plugin(config: AccAwareConfig) -> AccAwareConfig:
    """The same, naming none: what is handed over stands in its place."""
    return AccAwareConfig.of(RunConfig(**{**vars(config), "plugin": None}))
