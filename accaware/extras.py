"""Optional packages, imported when they are needed, and the extra that installs each."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from accaware.errors import MissingExtraError


def import_extra(module: str, extra: str) -> Any:
    """An optional package's module.

    Args:
        module: its name, such as ``onnxruntime``.
        extra: of accaware, which installs it.

    Raises:
        MissingExtraError: it isn't installed, or can't be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        # A package that is there and broken says why; one that isn't has nothing to add.
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        why = "is not installed" if absent else f"can't be imported ({error})"
        raise MissingExtraError(
            f'{module} {why}; it comes with: pip install "accaware[{extra}]"'
        ) from error
