"""What a model can be exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from accaware.pytorch.model.inputs import ExampleInputs

LoadedModel = Callable[[Sequence[Tensor]], list[Tensor]]
"""A model out of a file: the tensors among its outputs, of those among its inputs, on the CPU."""


@dataclass(frozen=True, kw_only=True)
class FormatOptions:
    """What a user may ask of a file, whatever its format.

    Attributes:
        opset: of ONNX; None for the format's own choice.
        dynamic_batch: whether batches of any size are taken; None where the model can.
        metadata: written into the file where it has room for such.
    """

    opset: int | None = None
    dynamic_batch: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Written:
    """How a file was written.

    Attributes:
        opset: of ONNX; None for formats without.
        fixed_batch: why only batches of the example's size are taken; None if any are.
    """

    opset: int | None
    fixed_batch: str | None

    @property
    def dynamic_batch(self) -> bool:
        """Whether batches of any size are taken."""
        return self.fixed_batch is None


class ExportFormat(Protocol):
    """One kind of file."""

    @property
    def name(self) -> str:
        """As the command line and the config call it."""

    @property
    def suffix(self) -> str:
        """Of the file's name, with its dot."""

    @property
    def companions(self) -> Sequence[str]:
        """Suffixes of further files that belong to it."""

    def require(self) -> None:
        """Import what it needs.

        Raises:
            MissingExtraError: a package that it needs isn't installed.
        """

    def check(self, options: FormatOptions) -> None:
        """Refuse options before the model is touched.

        Raises:
            UsageError: an option that this format doesn't have, or a value out of its bounds.
        """

    def write(
        self, model: nn.Module, inputs: ExampleInputs, path: Path, options: FormatOptions
    ) -> Written:
        """Write the file, and those that belong to it.

        Args:
            model: compressed, on the CPU; not touched.
            inputs: a batch of them, on the CPU.

        Raises:
            RunError: the model can't be exported.
            OSError: the file can't be written.
        """

    def read(self, path: Path, model: nn.Module, inputs: ExampleInputs) -> LoadedModel:
        """The file as those will load it who deploy it.

        Args:
            model: what was written; its code alone counts, where the format needs that.
        """
