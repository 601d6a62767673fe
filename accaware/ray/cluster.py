"""A connection to a Ray cluster, or one that begins and ends with this process."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from accaware.errors import UsageError
from accaware.extras import import_extra

LOCAL = "local"
"""In the place of an address: a cluster of this machine alone, for as long as the run takes."""

_FREED = 15.0
"""Seconds for resources to become free in."""

_REACHED = 5.0
"""Seconds to reach a cluster's address in."""


class RayCluster:
    """Connects as it is made.

    Args:
        address: ``local``, ``auto`` for the cluster that this machine is a node of, or HOST:PORT.

    Raises:
        MissingExtraError: ray isn't installed.
        UsageError: there is no cluster, or it is of another version.
    """

    def __init__(self, address: str = LOCAL) -> None:
        # Nothing is told to Ray's makers, and a cluster of this machine is nobody else's to reach.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if address == LOCAL:
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        self.ray: Any = import_extra("ray", "ray")
        self.address = address
        # One that a script of the user's, or a test, has connected to is theirs to end.
        self._ours = not self.ray.is_initialized()
        if self._ours:
            self._connect(address)

    def _connect(self, address: str) -> None:
        _check_reachable(address)
        options = {"include_dashboard": False} if address == LOCAL else {}
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM) if main else None
        try:
            self.ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:
            raise UsageError(
                f"{_NAMES.get(address, f'Ray at {address}')}: {_why(error)}"
            ) from error
        finally:
            # Ray puts a handler of its own in the place of the run's.
            if main:
                signal.signal(signal.SIGTERM, before)

    def room_for(self, resources: Mapping[str, float]) -> int:
        """How many times these resources are there, each time on one node, whoever uses them."""
        return sum(_times(node, resources) for node in self._nodes())

    def require(self, resources: Mapping[str, float]) -> int:
        """How many trials there is room for, at least one.

        Raises:
            UsageError: there is none.
        """
        wanted, room = _listed(resources), self.room_for(resources)
        if not room:
            has = "; ".join(_listed(_named(node)) for node in self._nodes())
            raise UsageError(
                f"resources_per_trial asks for {wanted}, and no node of the Ray cluster has that "
                f"(they have {has or 'nothing'})"
            )
        began = time.monotonic()
        while not _times(self.ray.available_resources(), resources):
            # What a run that has just ended used is soon free again.
            if time.monotonic() - began < _FREED:
                time.sleep(0.2)
                continue
            raise UsageError(
                f"resources_per_trial asks for {wanted}, and others use what the Ray cluster has "
                "of that"
            )
        return room

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def close(self) -> None:
        """End the connection, and the cluster if it is this process's own."""
        if self._ours and self.ray.is_initialized():
            self.ray.shutdown()


_NAMES = {LOCAL: "Ray on this machine", "auto": "Ray"}


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes.

    Raises:
        UsageError: nobody answers there.
    """
    known = _known_address() if address == "auto" else address
    if known is None or known == LOCAL:
        return
    host, colon, port = known.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise UsageError(f"--ray-address {address}: neither local nor auto nor HOST:PORT")
    try:
        with socket.create_connection((host, int(port)), _REACHED):
            pass
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"Ray at {address}: there is no cluster: {why}") from error


def _known_address() -> str | None:
    """Where Ray looks for the cluster of this machine; None where it knows of none."""
    told = os.environ.get("RAY_ADDRESS")
    if told is None:
        file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
        with suppress(OSError):
            told = file.read_text("utf-8").strip()
    is_address = told is not None and told.rpartition(":")[2].isdecimal() and "://" not in told
    return told if is_address else None


def _why(error: Exception) -> str:
    """The first sentence that tells: Ray's messages go on for pages."""
    if isinstance(error, ConnectionError) and "any running Ray" in str(error):
        return "this machine is no node of a cluster"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = " ".join(lines[:6]) if lines and lines[0].endswith(":") else (lines or [repr(error)])[0]
    return told[:300]


def _times(node: Mapping[str, float], resources: Mapping[str, float]) -> int:
    wanted = {name: amount for name, amount in resources.items() if amount > 0}
    times = [math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items()]
    return min(times, default=0)


def _named(node: Mapping[str, float]) -> Mapping[str, float]:
    """Without what a node has beside what one may ask for."""
    hidden = ("node:", "memory", "object_store_memory", "accelerator_type:")
    return {name: amount for name, amount in node.items() if not name.startswith(hidden)}


def _listed(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in sorted(resources.items()))
