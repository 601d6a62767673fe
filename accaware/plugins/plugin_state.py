"""What a plugin remembers from one epoch to the next."""

from __future__ import annotations

from typing import Any

from accaware.plugins.plugin import Plugin


class PluginState:
    """The plugin's own ``state_dict()``, where it offers one, and that of some of its members.

    Args:
        kind: of the members that have a state which the plugin needn't care for.
    """

    def __init__(self, plugin: Plugin, kind: type) -> None:
        self._plugin = plugin
        self._kind = kind

    def state_dict(self) -> dict[str, Any]:
        """What the plugin says of itself, and the state of each member of the kind, by name."""
        members = self._plugin.members(self._kind)
        return {
            "own": self._plugin.call("state_dict") if self._plugin.offers("state_dict") else None,
            "members": {name: member.state_dict() for name, member in members.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back the members that the state has, then what the plugin said of itself."""
        for name, member in self._plugin.members(self._kind).items():
            if name in state["members"]:
                member.load_state_dict(state["members"][name])
        if self._plugin.offers("state_dict"):
            self._plugin.call("load_state_dict", state["own"])
