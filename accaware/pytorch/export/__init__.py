"""From a compressed model to a file that ships: written, read back, compared."""

from accaware.pytorch.export.export import FORMATS, export_model

__all__ = ["FORMATS", "export_model"]
