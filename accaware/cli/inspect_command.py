"""The words of ``accaware inspect``. What it does is imported when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accaware.cli.device import Device
from accaware.cli.errors import reported
from accaware.cli.options import Data, Download, Json, Seed, Settings


def inspect(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="What to compress and how far; JSON.")
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
        typer.Option(metavar="PLUGIN", help="As of accaware run. Overrides the config's."),
    ] = None,
    data: Data = None,
    download: Download = False,
    device: Annotated[
        Device | None, typer.Option(help="Where to compute. Overrides the config's.")
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
    from accaware.cli.inspect import InspectOptions
    from accaware.cli.inspect import inspect as inspect_with

    options = InspectOptions(
        config=config,
        plugin=plugin,
        data=data,
        download=download,
        device=device.value if device else None,
        seed=seed,
        settings=tuple(settings or ()),
        samples=samples,
        json=json,
    )
    raise typer.Exit(reported(lambda: inspect_with(options)))
