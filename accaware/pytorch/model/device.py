"""The device that a model is on, by its name."""

from __future__ import annotations

import torch

from accaware.errors import UsageError


def named_device(name: str) -> torch.device:
    """The named device, or for "auto" the best that is there.

    Raises:
        UsageError: this machine doesn't have it.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    kind, _, index = name.partition(":")
    if not there[kind] or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        have = ", ".join(kind for kind, available in there.items() if available)
        raise UsageError(f"device {name!r} is not available to torch here; there is {have}")
    return torch.device(name)
