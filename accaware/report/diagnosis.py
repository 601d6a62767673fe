"""A diagnosis as plain lines, to be pasted into a bug report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accaware.report.formatting import duration, quantity
from accaware.results.diagnosis import Diagnosis, InstalledPackage

_COLUMN = 16


def diagnosis_lines(found: Diagnosis) -> list[str]:
    """What was found, and in the end whether all is well."""
    lines = [f"{name:{_COLUMN}}{text}".rstrip() for name, text in _rows(found)]
    if found.well:
        return [*lines, "", "All is well."]
    return [*lines, "", *(f"PROBLEM: {problem}" for problem in found.problems)]


def _rows(found: Diagnosis) -> Iterator[tuple[str, str]]:
    yield from found.versions.items()
    probe = found.probe
    packages = {package.name: package for package in found.needed}
    if "torch" in packages:
        build = "" if probe is None else f", {probe.build}"
        yield "torch", _version(packages.pop("torch")) + build
    if "torchvision" in packages:
        fits = (
            "" if probe is None else f", {'fits' if probe.pair is None else 'DOES NOT FIT'} torch"
        )
        yield "torchvision", _version(packages.pop("torchvision")) + fits
    if packages:
        yield "needed", _listed(list(packages.values()))
    for name, parts in found.extras.items():
        yield f"[{name}]", _listed(parts)
    for device in probe.devices if probe else ():
        memory = ""
        if device.memory_free is not None and device.memory_total is not None:
            memory = f", {_free(device.memory_free, device.memory_total)}"
        yield device.name, device.hardware + memory
    for runtime in probe.runtimes if probe else ():
        yield runtime.name, runtime.failure or f"{runtime.version}, can be used"
    if found.memory_free is not None:
        yield "memory", _free(found.memory_free, found.memory_total)
    if found.disk_free:
        folders = [f"{quantity(free, 'B')} ({name})" for name, free in found.disk_free.items()]
        yield "disk free", ", ".join(folders)
    test = found.self_test
    if test is not None:
        outcome = "passed" if test.failure is None else "FAILED"
        yield "self-test", f"{outcome} on {', '.join(test.devices)}, {duration(test.seconds)}"


def _listed(packages: Sequence[InstalledPackage]) -> str:
    return ", ".join(map(_version_of_one, packages))


def _version_of_one(package: InstalledPackage) -> str:
    return f"{package.name} {_version(package)}"


def _version(package: InstalledPackage) -> str:
    if package.version is None:
        return "not installed"
    return package.version if package.fits else f"{package.version} (NEEDED: {package.wanted})"


def _free(free: int, total: int | None) -> str:
    of = "" if total is None else f" of {quantity(total, 'B')}"
    return f"{quantity(free, 'B')} free{of}"
