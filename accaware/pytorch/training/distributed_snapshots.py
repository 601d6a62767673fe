"""Snapshots of a run in several processes: the first writes them, and all go back to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pickle import PicklingError
from typing import Any

from accaware.errors import UnkeepableError
from accaware.pytorch.distributed.agreement import agreed, gathered, is_first, processes, rank
from accaware.pytorch.state.stateful import Stateful
from accaware.pytorch.training.snapshots import TorchSnapshots

_OF_EACH = "of_each_process"


class OfEachProcess:
    """A part whose state is another one in each process; a state has those of all.

    With a single process its state is the part's own, and so it can be brought back by any number
    of processes.

    Args:
        part: of this process.
        begins_anew: called in place of bringing a state back in a process that there wasn't when
            it was taken; without it such a process gets the first one's.
    """

    def __init__(self, part: Stateful, begins_anew: Callable[[], None] | None = None) -> None:
        self._part = part
        self._begins_anew = begins_anew

    def state_dict(self) -> dict[str, Any]:
        """Every process has to ask.

        Raises:
            UnkeepableError: the part's state can't be sent to the first process.
        """
        own = self._part.state_dict()
        if processes() == 1:
            return own
        try:
            return {_OF_EACH: gathered(own)}
        except (AttributeError, TypeError, PicklingError) as error:
            raise UnkeepableError(f"the state of each process can't be sent: {error}") from error

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Bring back this process's own state, if there is one."""
        states: list[dict[str, Any]] = state.get(_OF_EACH, [dict(state)])
        if rank() < len(states):
            self._part.load_state_dict(states[rank()])
        elif self._begins_anew is None:
            self._part.load_state_dict(states[0])
        else:
            self._begins_anew()


class DistributedSnapshots:
    """Of one of several processes.

    Args:
        snapshots: of the first process, which alone has the files.
    """

    def __init__(self, snapshots: TorchSnapshots) -> None:
        self._snapshots = snapshots
        self._is_first = is_first()

    def save(self, name: str) -> Mapping[str, str]:
        """Write the state of all processes; every one of them has to.

        Raises:
            UnkeepableError: in all of them, where the first can't keep a part's state.
        """
        content = self._snapshots.content()
        written: Mapping[str, str] | UnkeepableError = {}
        if self._is_first:
            try:
                written = self._snapshots.write(name, content)
            except UnkeepableError as error:
                written = error
        written = agreed(written)
        if isinstance(written, UnkeepableError):
            raise written
        return written

    def load(self, name: str, digests: Mapping[str, str]) -> None:
        """The first process reads the file, and all go back to what it has."""
        content = self._snapshots.read(name, digests) if self._is_first else {}
        self._snapshots.bring_back(name, agreed(content), files=self._is_first)

    def discard(self, name: str) -> None:
        """Only the first process has files to remove."""
        if self._is_first:
            self._snapshots.discard(name)
