"""The user's plugin, once it is loaded and found to keep the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accaware.errors import AccAwareError, PluginFailure


class Plugin:
    """Calls the user's functions and keeps their exceptions apart from accaware's own.

    Args:
        name: as the config has it, for messages.
        target: the module or object with the functions.
        takes_config: whether it was made with the config, and so may read any key of it.
    """

    def __init__(self, name: str, target: Any, *, takes_config: bool = False) -> None:
        self.name = name
        self.takes_config = takes_config
        self._target = target

    def offers(self, function: str) -> bool:
        """Whether the user's object has this function; None in its place counts as none."""
        return getattr(self._target, function, None) is not None

    def function(self, name: str) -> Any:
        """The user's function itself; None where it isn't offered."""
        return getattr(self._target, name, None)

    def members(self, kind: type) -> dict[str, Any]:
        """What the plugin has of a kind among its own attributes, by name."""
        own = getattr(self._target, "__dict__", {})
        return {name: value for name, value in own.items() if isinstance(value, kind)}

    def call(self, function: str, *arguments: Any) -> Any:
        """The function's return value.

        Raises:
            PluginFailure: the function raised; holds its exception.
        """
        return guarded(function, getattr(self._target, function), *arguments)


def guarded(name: str, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """Call code of the user's, or code that runs theirs; their keywords may have any name.

    Raises:
        PluginFailure: it raised something that isn't accaware's own; holds that exception.
    """
    try:
        return function(*arguments, **keywords)
    except AccAwareError:
        raise
    except Exception as error:
        raise PluginFailure(name, error) from error
