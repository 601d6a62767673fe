"""What `accaware inspect` finds out about a model, without training it."""

from accaware.pytorch.inspection.inspect import inspect

__all__ = ["inspect"]
