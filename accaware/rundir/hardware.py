"""What a machine computes with."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """The CPU's model, or its architecture where the system tells no more."""
    try:
        # Elsewhere than on Linux there is no such file, and for some CPUs no such line in it.
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
