"""What a plugin remembers from one epoch to the next."""

from __future__ import annotations

from typing import Any

from accaware.plugins.plugin import Plugin


class PluginState:
    """The plugin's own ``state_dict()``, where it offers one, and that of each of its members.

    Args:
        members: of the plugin, by name, that have a state: gradient scalers.
    """

    def __init__(self, plugin: Plugin, members: dict[str, Any]) -> None:
        self._plugin = plugin
        self._members = members

    def state_dict(self) -> dict[str, Any]:
        own = self._plugin.call("state_dict") if self._plugin.offers("state_dict") else None
        members = {name: member.state_dict() for name, member in self._members.items()}
        return {"own": own, "members": members}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, member in self._members.items():
            member.load_state_dict(state["members"][name])
        if self._plugin.offers("state_dict"):
            self._plugin.call("load_state_dict", state["own"])
