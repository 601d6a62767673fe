"""Whether this machine has what accaware needs, and whether that works."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import IO

from packaging.requirements import InvalidRequirement, Requirement

import accaware
from accaware.results.diagnosis import Diagnosis, InstalledPackage, SelfTest, TorchProbe
from accaware.results.from_json import structured

_SELF_TEST = "accaware.pytorch.self_test"
_IMPORTING = 120.0
"""Seconds for torch to be imported, which from a slow disk takes long."""

_TESTING = 10.0
"""Seconds for the self-test."""

_OURS = ("dev", "coverage")
"""Extras for work on accaware itself."""


def doctor() -> Diagnosis:
    """Look at versions, packages, devices, memory and disk, and prune a small model.

    Torch is imported in a process of its own: what doesn't fit it may end that, and not this one.
    Nothing is written but temporary files. No path and no name of a user is in what is returned.
    """
    needed, extras = _packages()
    problems = [_unfit(package) for package in needed if not package.fits]
    problems += _unfit_pair()
    probe, test, failure = _asked_torch()
    if failure is not None:
        problems.append(_impersonal(failure))
    if probe is not None and probe.pair is not None:
        problems.append(f"torchvision doesn't fit torch: {_impersonal(probe.pair)}")
    if test is not None and test.failure is not None:
        problems.append(f"the self-test failed {_impersonal(test.failure)}")
    free, total = _memory()
    return Diagnosis(
        versions={
            "accaware": accaware.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        needed=needed,
        extras=extras,
        probe=probe,
        memory_free=free,
        memory_total=total,
        disk_free=_disk(),
        self_test=test,
        problems=problems,
    )


# Packages ------------------------------------------------------------------------------------


def _packages() -> tuple[list[InstalledPackage], dict[str, list[InstalledPackage]]]:
    """What is needed, and of each extra; by accaware's own metadata."""
    try:
        known = metadata("accaware")
    except PackageNotFoundError:  # a checkout that isn't installed
        return [], {}
    wanted = list(_requirements(known.get_all("Requires-Dist") or ()))
    names = [name for name in known.get_all("Provides-Extra") or () if name not in _OURS]
    needed = [_found(each) for each in wanted if _is_for(each, "")]
    extras = {
        name: [_found(each) for each in wanted if _is_for(each, name) and not _is_for(each, "")]
        for name in names
    }
    # An extra that is made of others has their packages, and those only.
    return needed, {
        name: [one for one in found if one.name != "accaware"] for name, found in extras.items()
    }


def _unfit_pair() -> list[str]:
    """What torchvision says itself of the torch that it was built for."""
    try:
        wanted = [
            each for each in _requirements(requires("torchvision") or ()) if each.name == "torch"
        ]
    except PackageNotFoundError:
        return []
    found = [_found(each) for each in wanted]
    return [f"of the pair with torchvision, {_unfit(one)}" for one in found if not one.fits]


def _requirements(texts: Sequence[str]) -> Iterator[Requirement]:
    for text in texts:
        with suppress(InvalidRequirement):
            yield Requirement(text)


def _is_for(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return not extra if marker is None else marker.evaluate({"extra": extra})


def _found(requirement: Requirement) -> InstalledPackage:
    installed = _version(requirement.name)
    fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
    return InstalledPackage(
        name=requirement.name, version=installed, wanted=str(requirement.specifier), fits=fits
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _unfit(package: InstalledPackage) -> str:
    if package.version is None:
        return f"{package.name} is not installed"
    return f"{package.name} is {package.version}, and {package.wanted} is needed"


# The machine ---------------------------------------------------------------------------------


def _memory() -> tuple[int | None, int | None]:
    """Bytes that are free and that there are, within what a container may take."""
    lines = _lines("/proc/meminfo")
    told = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (x.partition(":") for x in lines)
    }
    free, total = told.get("MemAvailable"), told.get("MemTotal")
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None and (total is None or limit < total):
        rest = max(limit - used, 0)
        free, total = rest if free is None else min(free, rest), limit
    return free, total


def _number(file: str) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []  # other systems have no such file


def _disk() -> dict[str, int]:
    folders = {"current": Path(), "temporary": Path(tempfile.gettempdir())}
    free = {}
    for name, folder in folders.items():
        with suppress(OSError):
            free[name] = shutil.disk_usage(folder).free
    return free


# Torch, in a process of its own --------------------------------------------------------------


class _NoAnswer(Exception):  # noqa: N818 - it is what came
    """The process ended, or had to be ended; says how."""


def _asked_torch() -> tuple[TorchProbe | None, SelfTest | None, str | None]:
    """What it found, what came of the self-test, and why one of these is missing."""
    probe = test = None
    with tempfile.TemporaryFile("w+") as errors:
        process = _started(errors)
        try:
            probe = structured(TorchProbe, json.loads(_answer(process, _IMPORTING, errors)))
            test = structured(SelfTest, json.loads(_answer(process, _TESTING, errors)))
        except _NoAnswer as why:
            what = "torch can't be used" if probe is None else "the self-test failed"
            return probe, None, f"{what}: {why}"
        finally:
            process.kill()
            process.communicate()
    return probe, test, None


def _started(errors: IO[str]) -> subprocess.Popen[str]:
    here = str(Path(accaware.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        # -P: a file of the user's own in this folder isn't to be taken for a package.
        [sys.executable, "-P", "-m", _SELF_TEST],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def _answer(process: subprocess.Popen[str], seconds: float, errors: IO[str]) -> str:
    """The next line that it prints.

    Raises:
        _NoAnswer: it printed none.
    """
    assert process.stdout is not None
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    if line:
        return line
    code = process.wait()
    if late.is_set():
        raise _NoAnswer(f"it took more than {seconds:g} seconds")
    if code < 0:
        raise _NoAnswer(f"the process was ended by {signal.Signals(-code).name}")
    errors.seek(0)
    said = errors.read().strip().splitlines()
    raise _NoAnswer(said[-1] if said else f"the process ended with {code}")


_FOLDERS = re.compile(r"(?<![\w:/])(?:/[^\s/:'\"]+)+/|[A-Za-z]:\\(?:[^\\:'\"]+\\)+")


def _impersonal(text: str) -> str:
    """A message with the names of files alone: their folders tell whose they are."""
    return _FOLDERS.sub("", text)
