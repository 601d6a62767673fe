"""``accaware validate-config``: the words; what it does is imported when it is asked for."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from accaware.cli import completion
from accaware.cli.errors import reported
from accaware.cli.options import Settings


class Format(str, Enum):
    """How diagnostics are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def command(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG...",
            help="Files to check; - is standard input.",
            autocompletion=completion.configs,
        ),
    ],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="text: file:line:column: path: message. json: a list of objects. "
            "github: annotations for a workflow.",
        ),
    ] = Format.TEXT,
    settings: Settings = None,
    resolved: Annotated[
        bool,
        typer.Option(
            "--resolved",
            help="Print the config with every default filled in, all else to standard error; "
            "one file.",
        ),
    ] = False,
    check_plugin: Annotated[
        bool,
        typer.Option("--check-plugin", help="Import the plugin too, and check its functions."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the dataset, as of accaware run."),
    ] = None,
) -> None:
    """Check config files, and list every fault with its place. Nothing is run.

    \b
    Exit codes:
      0    every config can be used; warnings and notes alone are no failure
      2    at least one can't

    \b
    Examples:
      accaware validate-config config.json
      accaware validate-config configs/*.json --format github
      accaware validate-config config.json --set compression.params.pruning_target=0.3 --resolved
    """
    from accaware.api.overrides import Overrides
    from accaware.cli.validation.validate import ValidateOptions, validate

    options = ValidateOptions(
        configs=tuple(configs),
        settings=Overrides(data=data, changes=tuple(settings or ())).as_settings(),
        format=form.value,
        resolved=resolved,
        check_plugin=check_plugin,
    )
    raise typer.Exit(reported(lambda: validate(options)))
