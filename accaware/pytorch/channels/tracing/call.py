"""One call of a torch function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from accaware.pytorch.model.tensors import tensors_in


@dataclass(frozen=True)
class Call:
    """What was called, with what, and what came of it.

    Attributes:
        module: the name of the innermost module that was running.
        place: the same for people, with its type.
        outputs: all tensors that it returned, in order.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    module: str
    place: str
    outputs: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """``conv2d``, ``relu_``, ``__iadd__``."""
        return getattr(self.func, "__name__", str(self.func))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All tensors among the arguments, in order."""
        return tensors_in((self.args, dict(self.kwargs)))

    def argument(self, position: int, name: str) -> Any:
        """None where it wasn't passed."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    def dims(self, position: int) -> Any:
        """The argument ``dim``, which goes by NumPy's name as well."""
        return self.argument(position, "axis" if "axis" in self.kwargs else "dim")

    def on(self, change: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        """What the same call gives on other tensors."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, dict(self.kwargs)))
        return tensors_in(self.func(*args, **kwargs))
