"""What a machine has for accaware, and whether that works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accaware.results import strict_json


@dataclass(frozen=True, kw_only=True)
class InstalledPackage:
    """A package that accaware, or one of its extras, needs.

    Attributes:
        version: None where it isn't installed.
        wanted: versions that fit, as in ``>=2.11``; empty for any.
        fits: whether it is there in one of them.
    """

    name: str
    version: str | None
    wanted: str
    fits: bool


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a model can be trained. Bytes are None where the system doesn't tell."""

    name: str
    hardware: str
    memory_free: int | None
    memory_total: int | None


@dataclass(frozen=True, kw_only=True)
class InferenceRuntime:
    """One that is installed; ``failure`` says why it can't be imported, None where it can."""

    name: str
    version: str | None
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class TorchProbe:
    """What torch found out in a process of its own.

    Attributes:
        build: how torch was built: with which CUDA, or for the CPU alone.
        pair: why torch and torchvision don't fit each other, None where they do.
    """

    build: str
    pair: str | None
    devices: Sequence[Device]
    runtimes: Sequence[InferenceRuntime]


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """A small model that was pruned, checked and brought back, on each of the devices.

    ``failure`` says what went wrong, None where nothing did.
    """

    devices: Sequence[str]
    seconds: float
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All of it; sizes are bytes.

    Attributes:
        versions: of accaware, Python and the system.
        needed: packages that accaware can't do without.
        extras: packages of each extra.
        probe: None where torch can't even be imported.
        disk_free: of the current folder, where runs go, and of the temporary one.
        problems: why this machine can't be used as it is, a sentence each.
    """

    versions: Mapping[str, str]
    needed: Sequence[InstalledPackage]
    extras: Mapping[str, Sequence[InstalledPackage]]
    probe: TorchProbe | None
    memory_free: int | None
    memory_total: int | None
    disk_free: Mapping[str, int]
    self_test: SelfTest | None
    problems: Sequence[str]

    @property
    def well(self) -> bool:
        """Whether all that is needed fits, and the self-test has passed."""
        return not self.problems

    def to_json(self) -> str:
        """The fields above."""
        return strict_json.document({"well": self.well, **vars(self)})
