"""One model, ready to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Subject(Protocol):
    """A model in a runtime, with its inputs."""

    def forward(self) -> object:
        """Run once, which is what is timed."""

    @property
    def file_size(self) -> int:
        """Bytes."""

    def peak_memory(self) -> int | None:
        """Bytes; None where this system doesn't tell."""

    def convolutions(self) -> Mapping[str, int] | None:
        """How many ran in each precision; None where there is no profile."""
