"""A forward pass that is watched: its modules as they run, and every call of a torch function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from accaware.pytorch.model.function_mode import FunctionMode
from accaware.pytorch.model.wrappers import eagerly


class ForwardWatch(FunctionMode):
    """Sees what a model's forward does, nothing compiled and nothing differentiated.

    What a scripted module does is its own matter: it calls no torch functions, and takes no such
    hooks. A class of its own says what is done with what is seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._running: list[tuple[str, str]] = []

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[Self]:
        """Watch the model while this is entered."""
        handles = [
            handle
            for name, module in model.named_modules()
            for handle in self._hooked(name, module)
        ]
        try:
            with torch.no_grad(), eagerly(), self:
                yield self
        finally:
            for handle in handles:
                handle.remove()

    @property
    def module(self) -> str:
        """The name of the innermost module that is running."""
        return self._running[-1][0] if self._running else ""

    @property
    def place(self) -> str:
        """The same for people, with its type."""
        return self._running[-1][1] if self._running else "the model"

    def entered(self, inputs: Any) -> None:
        """``module`` begins with these arguments."""

    def left(self, module: str, output: Any) -> None:
        """A module has returned, to the one that ``module`` is now."""

    def _hooked(self, name: str, module: nn.Module) -> Iterator[Any]:
        if isinstance(module, torch.jit.ScriptModule):
            return
        place = f"{name or 'the model'} ({type(module).__name__})"
        yield module.register_forward_pre_hook(partial(self._enter, name, place), with_kwargs=True)
        yield module.register_forward_hook(self._leave)

    def _enter(self, name: str, place: str, module: nn.Module, *inputs: Any) -> None:
        self._running.append((name, place))
        self.entered(inputs)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        name, _ = self._running.pop()
        self.left(name, output)
