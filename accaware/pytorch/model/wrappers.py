"""What is put around a model to run it otherwise: torch.compile's module, DataParallel.

A wrapper computes what the module within it computes, and has all tensors from there. Models are
compressed, kept and exported without it, so that no name depends on how a model was run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from accaware.errors import UsageError


class Replica(DistributedDataParallel):
    """The model in one of several processes, which average the gradients of their replicas.

    It is made anew for each epoch, as shapes may have changed. What the module within has is found
    on it as well, under the same names, so that a training that was written for one process needn't
    know of it.

    Args:
        module: the model, in torch.compile's wrapper if it came in one.
        unused: names of parameters that get no gradient, for which nobody is to wait; None where
            these may be others in each step, which then has to be searched for them.
    """

    def __init__(self, module: nn.Module, unused: Sequence[str] | None) -> None:
        # What DDP's own docs of ignored parameters name; it has no argument for them.
        self._set_params_and_buffers_to_ignore_for_model(module, unused or ())  # type: ignore[no-untyped-call]
        try:
            super().__init__(module, find_unused_parameters=unused is None)
        finally:
            del module._ddp_params_and_buffers_to_ignore
        # It can be indexed, counted and gone through where the module can. Python looks for that on
        # the class, where a length also says what is true.
        offered = {name: _passed_on(name) for name in _OF_CLASSES if hasattr(type(module), name)}
        self.__class__ = type(type(self).__name__, (type(self),), offered)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(self.module, name)

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        """Those of the module within, and all its names are without a prefix of the wrapper's."""
        found: Iterator[tuple[str, nn.Module]] = self.module.named_modules(*args, **kwargs)
        return found

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the module within."""
        found: Iterator[tuple[str, nn.Parameter]] = self.module.named_parameters(*args, **kwargs)
        return found

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]:
        """Those of the module within."""
        found: Iterator[tuple[str, Tensor]] = self.module.named_buffers(*args, **kwargs)
        return found

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the module within."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the module within."""
        return self.module.load_state_dict(*args, **kwargs)


_OF_CLASSES = ("__getitem__", "__setitem__", "__len__", "__iter__", "__contains__")


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: Replica, *args: Any) -> Any:
        return getattr(self.module, name)(*args)

    return call


def unwrapped(model: nn.Module) -> nn.Module:
    """The module within torch.compile's and DataParallel's wrappers; a bare model itself.

    Raises:
        UsageError: it is wrapped by something that can't follow a model whose shapes change.
    """
    while True:
        if is_compiler(model):
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, DataParallel | Replica):
            model = model.module
        elif isinstance(model, DistributedDataParallel) or _is(
            model, "torch.distributed.fsdp", "FullyShardedDataParallel"
        ):
            raise UsageError(
                f"the model is handed over as {type(model).__name__}, which can't follow layers "
                "whose shapes change: hand over the module within it, and wrap that inside "
                "train_epoch"
            )
        else:
            return model


def is_compiler(module: nn.Module) -> bool:
    """Whether it is what torch.compile gave for another module."""
    return _is(module, "torch._dynamo.eval_frame", "OptimizedModule")


def is_compiled(model: nn.Module) -> bool:
    """Whether some of it runs through torch.compile."""
    return any(
        is_compiler(module) or module._compiled_call_impl is not None for module in model.modules()
    )


def recompile(model: nn.Module) -> None:
    """Let a compiled model be compiled anew at its next call, for its hooks and shapes of now.

    Torch doesn't look at hooks again by itself, and gives a function up after eight versions.
    """
    if is_compiled(model):
        torch.compiler.reset()


class Recompiled:
    """Compiles a model anew when its shapes have changed, or what is hooked into its layers.

    What was compiled before is dropped: after eight versions of one function torch.compile would
    give up on it. And it doesn't look at hooks again by itself.
    """

    def __init__(self) -> None:
        self._signature: object = None
        self._compiled: nn.Module | None = None

    def of(self, model: nn.Module) -> nn.Module:
        """The compiled model, which shares all that it has with ``model``."""
        signature = _signature(model)
        if self._compiled is None or signature != self._signature:
            torch.compiler.reset()
            self._compiled = torch.compile(model)  # type: ignore[assignment]
            self._signature = signature
        assert self._compiled is not None
        return self._compiled


def eagerly() -> AbstractContextManager[object]:
    """Whatever is compiled runs as if it weren't, so that each of its steps can be watched."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def _signature(model: nn.Module) -> object:
    layers = [
        (type(layer), tuple(layer._forward_hooks), tuple(layer._forward_pre_hooks))
        for layer in model.modules()
    ]
    return id(model), layers, [parameter.shape for parameter in model.parameters()]


def _is(model: nn.Module, module: str, name: str) -> bool:
    """Without importing what takes seconds: before that nothing is an instance of its classes."""
    kind: Any = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(model, kind)
