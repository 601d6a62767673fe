"""What a plugin may offer, and whether this one does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PluginFunction:
    """One function of the contract: its name and the arguments it is called with."""

    name: str
    arguments: tuple[str, ...]
    returns: str

    @property
    def signature(self) -> str:
        """The function with its arguments and what it returns, as messages show it."""
        return f"{self.name}({', '.join(self.arguments)}) -> {self.returns}"


FUNCTIONS = {
    function.name: function
    for function in (
        PluginFunction("create_model", (), "nn.Module"),
        PluginFunction("create_datasets", (), "(train, validation)"),
        PluginFunction("create_dataloaders", (), "(train_loader, validation_loader)"),
        PluginFunction(
            "train_epoch",
            ("model", "train_loader", "optimizer", "compression"),
            "float | None",
        ),
        PluginFunction("validate", ("model", "validation_loader"), "float"),
        PluginFunction("configure_optimizers", ("model",), "Optimizer | (Optimizer, scheduler)"),
        PluginFunction("loss", ("outputs", "targets"), "Tensor"),
        PluginFunction("example_inputs", (), "Tensor | tuple | dict"),
        PluginFunction("state_dict", (), "dict"),
        PluginFunction("load_state_dict", ("state",), "None"),
    )
}
_DATA = ("create_datasets", "create_dataloaders")


def contract_faults(plugin: Any, *, bound: bool = True) -> list[str]:
    """Everything that is wrong with a plugin's module or object, a line each.

    Args:
        bound: False for a class, whose functions still want their ``self``.
    """
    faults = []
    if not callable(getattr(plugin, "create_model", None)):
        faults.append(f"missing: {FUNCTIONS['create_model'].signature}")
    if not any(callable(getattr(plugin, name, None)) for name in _DATA):
        both = " or ".join(FUNCTIONS[name].signature for name in _DATA)
        faults.append(f"missing: {both}")
    stateful = ("state_dict", "load_state_dict")
    missing = [name for name in stateful if getattr(plugin, name, None) is None]
    if len(missing) == 1:
        faults.append(f"missing: {FUNCTIONS[missing[0]].signature}; its counterpart is there")
    for function in FUNCTIONS.values():
        offered = getattr(plugin, function.name, None)
        if offered is None:
            continue
        if not callable(offered):
            faults.append(f"not a function: {function.name}; it should be {function.signature}")
        elif not _can_be_called_with(offered, len(function.arguments) + (not bound)):
            own = f"{function.name}{inspect.signature(offered)}"
            faults.append(f"wrong arguments: {own}; it should be {function.signature}")
    return faults


def _can_be_called_with(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True  # a built-in without a signature; calling it will tell
    return True
