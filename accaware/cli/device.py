"""Where torch computes, as a word of the command line."""

from __future__ import annotations

from enum import Enum


class Device(str, Enum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"
