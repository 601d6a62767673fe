"""``accaware inspect``: what a run would compress, and what it would cost."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from accaware.cli import completion
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.options import Data, Download, Json, Seed, Settings, device_option


def command(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="What to compress and how far; JSON.",
            autocompletion=completion.configs,
        ),
    ],
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Also measure how much the metric depends on each part, on N validation samples.",
        ),
    ] = None,
    plugin: Annotated[
        str | None,
        typer.Option(
            metavar="PLUGIN",
            help="As of accaware run. Overrides the config's.",
            autocompletion=completion.plugins,
        ),
    ] = None,
    data: Data = None,
    download: Download = False,
    device: Annotated[
        str | None,
        device_option("Where to compute; cuda:1 is the second GPU. Overrides the config's."),
    ] = None,
    seed: Seed = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Tell what a run with CONFIG would compress, and what it would cost. Nothing is written.

    Parameters, FLOPs and latency of each layer; the groups of channels that can be pruned, or the
    layers that can be made sparse; what can't be, and why; the maximal rate; the time of an epoch
    at a few rates, from a few training steps.

    With --samples, each part alone loses 10, 30 and 50 % of its channels or weights, the least
    important ones, and the metric is measured without any training.

    \b
    Examples:
      accaware inspect config.json
      accaware inspect config.json --samples 500
      accaware inspect config.json --set compression.params.all_weights=true --json
    """
    deed = partial(
        inspect,
        config,
        samples=samples,
        plugin=plugin,
        data=data,
        download=download,
        device=device,
        seed=seed,
        overrides=settings or (),
        json=json,
    )
    raise typer.Exit(reported(deed))


def inspect(config: Path, *, json: bool = False, **arguments: Any) -> ExitCode:
    """Find out, and print it.

    Raises:
        AccAwareError: as ``accaware.inspect``, whose arguments it takes.
    """
    from accaware.api.inspect import inspect as inspect_config
    from accaware.cli.output import Output

    output = Output(json=json)
    with output.guarding_stdout():
        inspect_config(config, listener=output, **arguments)
    return ExitCode.WITHIN_BUDGET
