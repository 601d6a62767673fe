"""The built-in plugin for Lightning: its module's steps, without its Trainer."""

from accaware.pytorch.builtin.lightning.task import LightningTask

__all__ = ["LightningTask"]
