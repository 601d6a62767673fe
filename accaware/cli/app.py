"""The commands and their options. What they do is elsewhere, and imported when it is asked for."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

import accaware
from accaware.cli import benchmark_command, export_command, inspect_command
from accaware.cli.device import Device
from accaware.cli.errors import reported
from accaware.cli.options import Data, Download, Seed, Settings

app = typer.Typer(
    name="accaware",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts faster, and reads well in a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(str, Enum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"accaware {accaware.__version__}")
        raise typer.Exit


@app.callback(
    epilog="""\b
Examples:
  accaware validate-config config.json
  accaware run config.json
  accaware run config.json --device cuda --output-dir runs/first
  accaware run config.json --set accuracy_aware_training.params.patience_epochs=3
  accaware status runs/config-1
  accaware run --resume runs/config-1
  accaware inspect config.json --samples 500
  accaware export runs/config-1 --format onnx
  accaware benchmark runs/config-1
"""
)
def accaware_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Find the most compressed model that stays within the accuracy you can afford to lose."""


@app.command(short_help="Search the highest rate within the accuracy budget.")
def run(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="What to compress and how far; JSON.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the run's files go; runs/CONFIG-NUMBER if not given. "
            "A directory that holds a run is never overwritten.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Go on with the run in this directory; CONFIG is the run's own if not given.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="With --resume: go on even where something has changed."),
    ] = False,
    plugin: Annotated[
        str | None,
        typer.Option(
            metavar="PLUGIN",
            help="Your model, data and training: file.py or package.module, with an optional "
            ":Class behind it. Overrides the config's; without one, the config's model and dataset "
            "are torchvision's.",
        ),
    ] = None,
    data: Data = None,
    download: Download = False,
    device: Annotated[
        Device | None, typer.Option(help="Where to train. Overrides the config's.")
    ] = None,
    seed: Seed = None,
    settings: Settings = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print result.json alone to standard output; all else to standard error."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress; the final table alone.")
    ] = False,
) -> None:
    """Search the highest compression rate within the accuracy budget of CONFIG.

    The run's directory holds config.json (with every default filled in), manifest.json,
    events.jsonl, result.json and best/model.pt. A run that was interrupted, killed or has failed
    goes on from its last finished epoch with --resume.

    \b
    Exit codes:
      0    a model within budget was found
      1    the plugin or the run failed; the best until then is saved
      2    bad usage, config or plugin; nothing was trained
      3    nothing is within budget; the best effort is saved
      130  interrupted (Ctrl-C); the best until then is saved
      143  terminated (SIGTERM), likewise

    \b
    Examples:
      accaware run config.json
      accaware run config.json --plugin model.py:Cifar --device cuda
      accaware run resnet18_cifar10.json --data ~/cifar --download
      accaware run config.json --json > result.json
      accaware run --resume runs/config-1
    """
    if config is None and resume is None:
        raise typer.BadParameter("Missing argument 'CONFIG' (or --resume DIR).", ctx=context)
    from accaware.cli.run import RunOptions
    from accaware.cli.run import run as run_with

    options = RunOptions(
        config=config,
        output_dir=output_dir,
        resume=resume,
        force=force,
        plugin=plugin,
        data=data,
        download=download,
        device=device.value if device else None,
        seed=seed,
        settings=tuple(settings or ()),
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(reported(lambda: run_with(options)))


@app.command(short_help="Tell where a run stands and how to go on.")
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A run's directory.")],
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell where the run in DIR stands: its trials, the best of them, and how to go on.

    It is running, interrupted (killed, too), failed or finished. Nothing is changed.
    """
    from accaware.cli.status import status as tell_status

    raise typer.Exit(reported(lambda: tell_status(directory, json=json)))


app.command(short_help="Tell what a run would compress, and what it would cost.")(
    inspect_command.inspect
)
app.command(short_help="Write a run's model for deployment.")(export_command.export)
app.command(short_help="Time a run's model against the dense one.")(benchmark_command.benchmark)


@app.command("validate-config", short_help="Check config files without running anything.")
def validate_config(
    configs: Annotated[
        list[Path],
        typer.Argument(metavar="CONFIG...", help="Files to check; - is standard input."),
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
    from accaware.cli.loading import Overrides
    from accaware.cli.validate import ValidateOptions, validate

    options = ValidateOptions(
        configs=tuple(configs),
        settings=Overrides(data=data, settings=tuple(settings or ())).as_settings(),
        format=form.value,
        resolved=resolved,
        check_plugin=check_plugin,
    )
    raise typer.Exit(reported(lambda: validate(options)))


@app.command(short_help="Print the JSON Schema of a config, for editors.")
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of a config.

    \b
    An editor completes and explains a config that names it:
      accaware schema > accaware.schema.json
      {"$schema": "./accaware.schema.json", ...}
    """
    import json

    from accaware.config.schema.json_schema import bundled

    typer.echo(json.dumps(bundled(), indent=2))


def main() -> None:
    app(prog_name="accaware")
