"""A wheel, installed where nothing of the checkout is seen, does what its users do first.

    python scripts/try_wheel.py dist/accaware-0.1.0-py3-none-any.whl

In a new environment of this Python it prints its version and its schema, runs the demo's config
(made short), and its types are held against two small scripts by a strict mypy. Torch and the other
requirements are this Python's own, which the environment sees behind the wheel: they take
gigabytes. Other Pythons that are on the machine have a new environment with all requirements but
torch, and do what needs no torch. Each is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / "wheel_trial"
PYTHONS = ("3.11", "3.12", "3.13")
SHORT = (
    "plugin_args.width=8",
    "plugin_args.epochs=3",
    "device=cpu",
    "accuracy_aware_training.params.maximal_total_epochs=4",
)
"""The demo's config in seconds."""


class Environment:
    """A new one, in a folder of its own, with the wheel in it."""

    def __init__(self, python: str, folder: Path, wheel: Path) -> None:
        subprocess.run([python, "-m", "venv", folder], check=True)
        self._bin = folder / "bin"
        self.site_packages = Path(
            self.out("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        )
        self.install("--no-deps", str(wheel))

    def install(self, *what: str) -> None:
        self.out("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)

    def see(self, other: str) -> None:
        """Packages of another environment, behind its own."""
        (self.site_packages / "behind.pth").write_text(other + "\n")

    def out(self, program: str, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """What a program of the environment prints, started away from the checkout.

        Raises:
            SystemExit: it ends with another exit code.
        """
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [self._bin / program, *words],
            cwd=self._bin.parent,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode not in codes:
            sys.exit(f"{program} {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.absolute()
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as folder:
        for number, python in pythons():
            environment = Environment(python, Path(folder) / number, wheel)
            if number == own:
                environment.see(sysconfig.get_path("purelib"))
            else:
                environment.install(*requirements(wheel))
            without_torch(environment, wheel)
            if number == own:
                demo(environment)
                types(environment)
            print(f"Python {number}: {'all' if number == own else 'all that needs no torch'}")
        missing = sorted({*PYTHONS} - {number for number, _ in pythons()})
        print(f"not on this machine: Python {', '.join(missing)}" if missing else "", end="")


def pythons() -> Iterator[tuple[str, str]]:
    """Each of PYTHONS that there is, and its program: on the path, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for number in PYTHONS:
        if number == f"{sys.version_info.major}.{sys.version_info.minor}":
            yield number, sys.executable
            continue
        found = [shutil.which(f"python{number}"), *pyenv.glob(f"{number}.*/bin/python")]
        works = (str(one) for one in found if one and _answers(str(one)))
        program = next(works, None)
        if program is not None:
            yield number, program


def _answers(program: str) -> bool:
    """pyenv's stand-ins don't where their version isn't chosen."""
    return subprocess.run([program, "--version"], capture_output=True).returncode == 0


def requirements(wheel: Path) -> list[str]:
    """The wheel's own, without extras, torch and torchvision."""
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    found = metadata.get_all("Requires-Dist", [])
    return [one for one in found if "extra ==" not in one and not one.startswith("torch")]


def without_torch(environment: Environment, wheel: Path) -> None:
    where = environment.out("python", "-c", "import accaware; print(accaware.__file__)")
    if not Path(where).is_relative_to(environment.site_packages):
        sys.exit(f"{where} was imported, and not the wheel")
    version = environment.out("accaware", "--version").split()[-1]
    if version != wheel.name.split("-")[1]:
        sys.exit(f"{wheel.name} says that it is {version}")
    schema = json.loads(environment.out("accaware", "schema"))
    if "compression" not in schema["properties"]:
        sys.exit("accaware schema prints no schema")
    config = str(ROOT / "configs" / "digits_filter_pruning.json")
    environment.out("accaware", "validate-config", config)


def demo(environment: Environment) -> None:
    config = str(ROOT / "configs" / "digits_filter_pruning.json")
    words = [word for one in SHORT for word in ("--set", one)]
    # In so few epochs nothing may be within budget; the best effort is a result, too.
    told = environment.out(
        "accaware", "run", config, "--json", "--output-dir", "run", *words, codes=(0, 3)
    )
    if not json.loads(told)["trials"]:
        sys.exit("the demo tried nothing")


def types(environment: Environment) -> None:
    """What py.typed says: a user's strict mypy sees accaware's types."""
    mypy = ("-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "wheel"))
    environment.out("python", *mypy, str(SCRIPTS / "right.py"))
    told = environment.out("python", *mypy, str(SCRIPTS / "wrong.py"), codes=(1,))
    if "float" not in told or "Found 1 error" not in told:
        sys.exit(f"mypy sees no types, or others:\n{told}")


if __name__ == "__main__":
    main()
