"""The former name of the plugin for classifiers, by which configs and scripts may know it."""

from accaware.pytorch.builtin.classification import ImageClassification


class TorchvisionTask(ImageClassification):
    """ImageClassification, from when it knew torchvision's models alone."""
