"""The command ``accaware``, which has commands."""

from __future__ import annotations

from typing import Annotated

import typer

import accaware
from accaware.cli.commands import (
    benchmark,
    compare,
    doctor,
    export,
    init,
    inspect,
    report,
    run,
    schema,
    status,
    validate,
)

app = typer.Typer(
    name="accaware",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts faster, and reads well in a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"accaware {accaware.__version__}")
        raise typer.Exit


@app.callback(
    epilog="""\b
Examples:
  accaware init --from plugin
  accaware validate-config config.json
  accaware run config.json
  accaware run config.json --device cuda --output-dir runs/first
  accaware run config.json --set accuracy_aware_training.params.patience_epochs=3
  accaware status runs/config-1
  accaware run --resume runs/config-1
  accaware report runs/config-1 --open
  accaware compare runs/config-1 runs/config-2
  accaware inspect config.json --samples 500
  accaware export runs/config-1 --format onnx
  accaware benchmark runs/config-1
  accaware doctor
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


app.command("init", short_help="Write a first config, and a plugin with blanks.")(init.command)
app.command("run", short_help="Search the highest rate within the accuracy budget.")(run.command)
app.command("status", short_help="Tell where a run stands and how to go on.")(status.command)
app.command("report", short_help="Show runs on a page that any browser opens.")(report.command)
app.command("compare", short_help="Hold runs against each other.")(compare.command)
app.command("inspect", short_help="Tell what a run would compress, and what it would cost.")(
    inspect.command
)
app.command("export", short_help="Write a run's model for deployment.")(export.command)
app.command("benchmark", short_help="Time a run's model against the dense one.")(benchmark.command)
app.command("validate-config", short_help="Check config files without running anything.")(
    validate.command
)
app.command("doctor", short_help="Tell what is installed here, and whether it works.")(
    doctor.command
)
app.command("schema", short_help="Print the JSON Schema of a config, for editors.")(schema.command)


def main() -> None:
    """The command, with the words of the process."""
    app(prog_name="accaware")
