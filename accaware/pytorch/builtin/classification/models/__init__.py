"""Classifiers by the names that configs have for them, from the library that a name begins with."""

from __future__ import annotations

from accaware.config.model.task import TaskConfig
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.pytorch.builtin.classification.models.named_model import NamedModel

__all__ = ["NamedModel", "named_model"]


def named_model(task: TaskConfig, faults: Faults) -> NamedModel:
    """The model of a task, which isn't built yet.

    ``timm/...`` and ``hf/...`` are those of timm and transformers; all others torchvision's.

    Args:
        faults: gets what is wrong with the names and the weights.

    Raises:
        MissingExtraError: the library isn't installed; names the extra.
    """
    library, _, name = (task.model or "").partition("/")
    # Each where it is asked for: what a config doesn't name needn't be installed.
    if library == "timm":
        from accaware.pytorch.builtin.classification.models.timm import TimmModel

        return TimmModel(name, task, faults)
    if library == "hf":
        from accaware.pytorch.builtin.classification.models.transformers import TransformersModel

        return TransformersModel(name, task, faults)
    from accaware.pytorch.builtin.classification.models.torchvision import TorchvisionModel

    return TorchvisionModel(task, faults)
