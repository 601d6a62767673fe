"""The built-in plugin: a classifier and a dataset by their names in a config.

Models are those of torchvision, timm and transformers; a file each in ``models``.
"""

from accaware.pytorch.builtin.classification.task import ImageClassification

__all__ = ["ImageClassification"]
