"""A run that has a model: the user's task, the dense model and the compressed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from accaware.config.model.config import RunConfig
from accaware.plugins.plugin import Plugin
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.state.checkpoint import load_compressed
from accaware.pytorch.training.task import PluginTask


@dataclass(frozen=True)
class FinishedRun:
    """What is loaded of a run that has handed a model over.

    Attributes:
        task: holds the dense model.
        compressed: the model that the run handed over, on the task's device.
        inputs: an example, on the same.
    """

    task: PluginTask
    compressed: nn.Module
    inputs: ExampleInputs

    @classmethod
    def load(
        cls, config: RunConfig, plugin: Plugin, path: Path, device: torch.device
    ) -> FinishedRun:
        """Make the plugin's model and data again, and load what ``path`` keeps of the model.

        Raises:
            CheckpointError: the file can't be read, or is another model's.
            PluginContractError: a function returned something else than it should.
            PluginFailure: a function raised.
        """
        seed_everything(config.seed)
        task = PluginTask(config, plugin, device, ())
        inputs = task.example_inputs()
        return cls(task, load_compressed(path, copied(task.model)), inputs)
