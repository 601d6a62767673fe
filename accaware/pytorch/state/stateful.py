"""What has a state that can be taken and brought back."""

from __future__ import annotations

from typing import Any, Protocol


class Stateful(Protocol):
    """What torch calls stateful: optimizers, schedules, scalers, generators, parts of a run."""

    def state_dict(self) -> dict[str, Any]:
        """All that it takes to go on from here."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Go on from where a state was taken."""
