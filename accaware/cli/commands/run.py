"""``accaware run``: a new run, or one to go on with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accaware.cli import completion
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.options import Data, Download, Seed, Settings, device_option
from accaware.errors import UsageError

if TYPE_CHECKING:
    from accaware.api.run_result import RunResult


def command(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="What to compress and how far; JSON.",
            autocompletion=completion.configs,
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the run's files go; runs/CONFIG-NUMBER if not given. "
            "A directory that holds a run is never overwritten.",
        ),
    ] = None,
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume",
            help="With --output-dir: go on where DIR holds a run of this config, and do nothing "
            "where that has finished.",
        ),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Go on with the run in this directory; CONFIG is the run's own if not given.",
            autocompletion=completion.runs,
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
            autocompletion=completion.plugins,
        ),
    ] = None,
    data: Data = None,
    download: Download = False,
    device: Annotated[
        str | None,
        device_option("Where to train; cuda:1 is the second GPU. Overrides the config's."),
    ] = None,
    ray_address: Annotated[
        str,
        typer.Option(
            metavar="<local|auto|HOST:PORT>",
            help="Where the config's engine is ray, the cluster that runs the trials: one of this "
            "machine alone, the one that this machine is a node of, or the one at an address.",
            autocompletion=completion.words("local", "auto"),
        ),
    ] = "local",
    seed: Seed = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<tensorboard|mlflow>",
            autocompletion=completion.words("tensorboard", "mlflow"),
            help="What shows the run while it goes on; may be repeated. TensorBoard's files go to "
            "the run's directory, MLflow's server is that of MLFLOW_TRACKING_URI. Overrides the "
            "config's trackers.",
        ),
    ] = None,
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
    events.jsonl, result.json, report.html and best/model.pt. A run that was interrupted, killed or
    has failed goes on from its last finished epoch with --resume. Started by torchrun, all
    processes train one model together; the first alone writes and prints.

    \b
    Exit codes:
      0    a model within budget was found; with --auto-resume: the run had finished before
      1    the plugin or the run failed; the best until then is saved
      2    bad usage, config or plugin; nothing was trained
      3    nothing is within budget; the best effort is saved
      130  interrupted (Ctrl-C); the best until then is saved
      143  terminated (SIGTERM, SIGUSR1), likewise

    \b
    Examples:
      accaware run config.json
      accaware run config.json --plugin model.py:Cifar --device cuda
      accaware run resnet18_cifar10.json --data ~/cifar --download
      accaware run config.json --json > result.json
      accaware run config.json --track tensorboard --track mlflow
      accaware run --resume runs/config-1
      torchrun --nproc-per-node 8 -m accaware run config.json --output-dir runs/a --auto-resume
    """
    if config is None and resume is None:
        raise typer.BadParameter("Missing argument 'CONFIG' (or --resume DIR).", ctx=context)
    deed = partial(
        run,
        config,
        output_dir=output_dir,
        auto_resume=auto_resume,
        resume=resume,
        force=force,
        plugin=plugin,
        data=data,
        download=download,
        device=device,
        ray_address=ray_address,
        seed=seed,
        trackers=track or None,
        overrides=settings or (),
        json=json,
        quiet=quiet,
    )
    raise typer.Exit(reported(deed))


def run(
    config: Path | None = None,
    *,
    output_dir: Path | None = None,
    auto_resume: bool = False,
    resume: Path | None = None,
    force: bool = False,
    json: bool = False,
    quiet: bool = False,
    **arguments: Any,
) -> ExitCode:
    """Search, and say all that there is to say meanwhile.

    Raises:
        AccAwareError: as ``accaware.run`` and ``accaware.resume``, whose other arguments it takes.
    """
    if resume is not None and output_dir is not None:
        raise UsageError("--resume goes on in the run's own directory: leave out --output-dir")
    if resume is not None and auto_resume:
        raise UsageError("--resume and --auto-resume: give one of the two")
    if resume is None and force:
        raise UsageError("--force means something with --resume only")
    from accaware.api.run import resume as go_on
    from accaware.api.run import run as begin
    from accaware.cli.next_steps import next_steps
    from accaware.cli.output import Output

    output = Output(json=json, quiet=quiet)
    with output.guarding_stdout():
        if resume is not None:
            go = partial(go_on, resume, config, force=force)
        else:
            assert config is not None
            go = partial(begin, config, output_dir=output_dir, auto_resume=auto_resume)
        result = go(**arguments, listener=output, handle_signals=True)
    if output.is_told_elsewhere:
        return ExitCode.NOTHING_TO_DO
    output.next_steps(next_steps(result))
    return exit_code(result)


def exit_code(result: RunResult) -> ExitCode:
    """Of a run that has ended."""
    return ExitCode.WITHIN_BUDGET if result.within_budget else ExitCode.NOT_WITHIN_BUDGET
