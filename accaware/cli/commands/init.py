"""``accaware init``: a first config, and a plugin with blanks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accaware.cli import completion
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.init import ALGORITHMS, SOURCES
from accaware.errors import UsageError

if TYPE_CHECKING:
    from accaware.cli.init.answers import Options

_CONFIG = "config.json"


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR",
            help="Folder for the files; the current one if not given. With --from nncf-config, "
            "the FILE that is read stands here too.",
            autocompletion=completion.configs,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar=f"<{'|'.join(SOURCES)} FILE>",
            help="Where the model comes from: a library, code of yours, or an NNCF config.",
            autocompletion=completion.words(*SOURCES),
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of torchvision or timm.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The trained weights; 'pretrained' for the library's own."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="cifar10, imagenet, image_folder, ...")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the dataset.")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the dataset when the run begins.")
    ] = False,
    module: Annotated[
        str | None, typer.Option(metavar="FILE:CLASS", help="Of a LightningModule.")
    ] = None,
    datamodule: Annotated[
        str | None, typer.Option(metavar="FILE:CLASS", help="Of a LightningDataModule.")
    ] = None,
    monitor: Annotated[
        str | None, typer.Option(metavar="NAME", help="What a LightningModule's validation logs.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="FILE", help="Of Lightning, with the trained weights.")
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar=f"<{'|'.join(ALGORITHMS)}>",
            help="What compresses; filter_pruning if not given.",
            autocompletion=completion.words(*ALGORITHMS),
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="Of its accuracy that may be lost; 1 if not given."),
    ] = None,
) -> None:
    """Write a config of few lines, and a plugin with blanks for a model of your own.

    What isn't given as an option is asked for at a terminal. The settings are the recommended ones,
    each with a comment. Nothing is ever overwritten.

    From a config of NNCF 2 all is kept that means something here, and what was left out or changed
    is told.

    \b
    Examples:
      accaware init
      accaware init flowers --from plugin
      accaware init --from torchvision --model resnet18 --weights r18.pth --dataset cifar10
      accaware init --from nncf-config old.json
    """

    def deed() -> ExitCode:
        from accaware.cli.init.answers import Options

        options = Options(
            model=model,
            weights=weights,
            dataset=dataset,
            data=data,
            download=download,
            module=module,
            datamodule=datamodule,
            monitor=monitor,
            checkpoint=checkpoint,
            algorithm=algorithm,
            budget=budget,
        )
        return init(paths or (), source, options)

    raise typer.Exit(reported(deed))


def init(paths: Sequence[Path], source: str | None, options: Options) -> ExitCode:
    """Ask, and write.

    Raises:
        UsageError: a file is there already; something is missing or wrong, and there is no
            terminal to ask at.
        OSError: a file can't be written.
    """
    from accaware.cli.init.answers import Asked
    from accaware.cli.init.drafts import drafted
    from accaware.cli.init.interview import Interview

    folder, old = _apart(paths, reads_file=source == "nncf-config")
    config = folder / _CONFIG
    # Before anything is asked.
    _check_free(config)
    interview = Interview()
    source = interview.choice(
        "--from", source, "Where does the model come from: a library, your own code", SOURCES
    )
    interview.complete()
    assert source is not None
    draft = drafted(Asked(interview, options, folder), source, old)
    files = {folder / name: text for name, text in draft.files.items()}
    files[config] = draft.config_text(config)
    for file in files:
        _check_free(file)
    for line in draft.told:
        typer.echo(line)
    for file, text in files.items():
        _write(file, text)
    _tell_next(config, [folder / name for name in draft.files])
    return ExitCode.WITHIN_BUDGET


def _apart(paths: Sequence[Path], *, reads_file: bool) -> tuple[Path, Path | None]:
    """The folder to write into, and the file to read: the one of them that is no folder."""
    files = [path for path in paths if reads_file and (path.is_file() or path.suffix == ".json")]
    folders = [path for path in paths if path not in files]
    if len(files) > 1 or len(folders) > 1:
        many = files if len(files) > 1 else folders
        raise UsageError(
            f"{' and '.join(map(str, many))}: name one {'file' if many is files else 'folder'}"
        )
    return next(iter(folders), Path()), next(iter(files), None)


def _check_free(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise UsageError(
            f"{file}: is there already, and nothing is overwritten; name another folder, as in "
            "accaware init DIR"
        )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        _check_free(file)  # it has come in between
        raise


def _tell_next(config: Path, written: Sequence[Path]) -> None:
    from accaware.starter.plugins import MARK

    typer.echo(f"{config}: written")
    for file in written:
        typer.echo(f"{file}: written; what is marked {MARK} is yours to write")
    name = shlex.quote(str(config))
    typer.echo("")
    typer.echo(f"to check it:              accaware validate-config {name} --check-plugin")
    typer.echo(f"to see what it would do:  accaware inspect {name}")
    typer.echo(f"to run it:                accaware run {name}")
