"""Arguments and options that several commands have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from accaware.cli import completion

_DEVICES = ("auto", "cpu", "cuda", "mps")


def device_option(help: str) -> Any:
    """``--device``, which every command has a use of its own for."""
    return typer.Option(
        metavar=f"<{'|'.join(_DEVICES)}>",
        parser=_device,
        help=help,
        autocompletion=completion.words(*_DEVICES),
    )


def _device(name: str) -> str:
    if name in _DEVICES or re.fullmatch("cuda:[0-9]+", name):
        return name
    known = ", ".join(map(repr, _DEVICES))
    raise typer.BadParameter(f"{name!r} is not one of {known}, nor a GPU by its number, 'cuda:1'.")


Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the dataset. Overrides the config's dataset_dir."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the dataset into that folder.")]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Of all randomness. Overrides the config's.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config; may be repeated."),
]
RunDir = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_DIR",
        help="The directory of a run that has a model.",
        autocompletion=completion.runs,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print all of it as JSON to standard output; all else to standard error."
    ),
]
