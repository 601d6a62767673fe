"""The forward pass that is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.copies import copied, copy_without_values
from accaware.pytorch.following.call import Call, tensors_in
from accaware.pytorch.following.numbering import Numbering
from accaware.pytorch.following.rules import CONVOLVE, apply
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.modes import set_structural_mode
from accaware.pytorch.wrappers import eagerly


def follow(model: nn.Module, inputs: ExampleInputs) -> Numbering:
    """Run the model once, on tensors without values where it can do that.

    Auxiliary heads, which run in training only, are followed too.

    Args:
        model: it is copied, not touched.

    Raises:
        Exception: whatever the model's forward raises.
    """
    with suppress(Exception):  # a forward that reads values; then it gets some
        return _run(copy_without_values(model), inputs.on(torch.device("meta")))
    own = copied(model)
    with suppress(Exception):  # some models train on other inputs than they evaluate
        return _run(own, inputs)
    return _run(own, inputs, structural=False)


def _run(model: nn.Module, inputs: ExampleInputs, *, structural: bool = True) -> Numbering:
    model.eval()
    if structural:
        set_structural_mode(model)
    numbering = Numbering(model)
    follower = _Follower(numbering)
    handles = [
        handle for name, module in model.named_modules() for handle in follower.watch(name, module)
    ]
    try:
        with torch.no_grad(), eagerly(), follower:
            outputs = inputs.call(model)
    finally:
        for handle in handles:
            handle.remove()
    numbering.bind(tensors_in(outputs), "its channels are the model's output")
    numbering.finish()
    return numbering


class _Follower(TorchFunctionMode):
    """Sees every call of a torch function while it is entered, those within others apart."""

    def __init__(self, numbering: Numbering) -> None:
        super().__init__()
        self._numbering = numbering
        self._convolved: Any = WeakIdKeyDictionary()  # what some convolution has had a part in
        self._open: list[tuple[str, str]] = []

    def watch(self, name: str, module: nn.Module) -> Iterator[Any]:
        if isinstance(module, torch.jit.ScriptModule):
            return  # nobody sees what is done in there
        place = f"{name or 'the model'} ({type(module).__name__})"
        yield module.register_forward_pre_hook(partial(self._enter, name, place))
        yield module.register_forward_hook(self._leave)

    def _enter(self, name: str, place: str, *_: Any) -> None:
        self._open.append((name, place))

    def _leave(self, *_: Any) -> None:
        self._open.pop()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        outputs = _computed(func, args, kwargs)
        module, place = self._open[-1] if self._open else ("", "the model")
        call = Call(func, args, kwargs, module, place, tensors_in(outputs))
        if call.taken and call.given:
            apply(self._numbering, call)
            self._follow_convolutions(call)
        return outputs

    def _follow_convolutions(self, call: Call) -> None:
        convolved = any(tensor in self._convolved for tensor in call.taken)
        if call.name in CONVOLVE:
            layer = self._numbering.layer_of(call.argument(1, "weight"))
            if layer is not None and call.argument(0, "input") not in self._convolved:
                self._numbering.first_convolutions.add(layer)
            convolved = True
        if convolved:
            for tensor in call.given:
                self._convolved[tensor] = True


def _computed(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the function gives; without values a batch norm is slow, and gives what it takes."""
    if func is functional.batch_norm:
        taken = args[0] if args else kwargs["input"]
        if taken.is_meta:
            return torch.empty_like(taken)
    return func(*args, **kwargs)
