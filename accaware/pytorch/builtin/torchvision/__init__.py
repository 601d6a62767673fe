"""The built-in plugin: a classifier and a dataset of torchvision, by their names in a config."""

from accaware.pytorch.builtin.torchvision.task import TorchvisionTask

__all__ = ["TorchvisionTask"]
