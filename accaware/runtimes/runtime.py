"""What accaware needs of an inference runtime: load a file, run it, tell what it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from accaware.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

Inputs = Mapping["str | int", "Array"]
"""Arrays by the name of the model's input, or by its position."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One operation that a runtime carried out.

    Attributes:
        name: of the node, as the runtime has it after its own changes to the graph.
        operator: in the runtime's words: Conv and QLinearConv, or Convolution.
        precision: of what it computed on: int8 (signed or not), float32, bfloat16, ...
        seconds: in one run.
    """

    name: str
    operator: str
    precision: str
    seconds: float

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, whatever the runtime calls it."""
        return "conv" in self.operator.lower()


class Session(Protocol):
    """A model in a runtime, ready to run."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """In the order of their positions."""

    @property
    def threads(self) -> int:
        """That one run may use, as the runtime tells it."""

    def run(self, inputs: Inputs) -> list[Array]:
        """The outputs, in their order.

        Raises:
            UsageError: inputs that the model doesn't have, or too few.
        """

    def profile(self, inputs: Inputs) -> list[Kernel]:
        """What one run carries out, from the runtime's own profile, in its order."""


class Runtime(Protocol):
    """An installed inference runtime."""

    @property
    def name(self) -> str:
        """As the command line and the config call it."""

    @property
    def version(self) -> str:
        """The version of what is installed."""

    def load(self, path: Path, threads: int) -> Session:
        """A model file on the CPU, in the precision that the file has.

        Args:
            threads: that one run may use.

        Raises:
            UsageError: the file can't be read, or isn't a model that this runtime runs.
        """


def by_name(inputs: Inputs, names: Sequence[str]) -> dict[str, Any]:
    """The inputs under their names alone.

    Raises:
        UsageError: one is missing, unknown, or given twice.
    """
    named: dict[str, Any] = {}
    for key, array in inputs.items():
        known = 0 <= key < len(names) if isinstance(key, int) else key in names
        if not known:
            raise UsageError(f"the model has no input {key!r}; it has {', '.join(names)}")
        name = names[key] if isinstance(key, int) else key
        if name in named:
            raise UsageError(f"input {name!r} is given twice")
        named[name] = array
    missing = [name for name in names if name not in named]
    if missing:
        raise UsageError(f"inputs that are missing: {', '.join(missing)}")
    return named
