"""A config of NNCF's, with what has to be asked for it to be of use here."""

from __future__ import annotations

from pathlib import Path

from accaware.cli.init.answers import Asked, existing_file, percent
from accaware.cli.init.named import QUESTION, other_data, refused, weights_of
from accaware.config.model.task import is_file
from accaware.config.text.source import UnreadableError, read
from accaware.errors import UsageError
from accaware.starter.nncf import Translation

_NAMES = ("model", "dataset")
_SAID = "as you said"


def translated(asked: Asked, old: Path | None, plugin: str) -> Translation:
    """What it is here, by the file of NNCF's.

    Args:
        plugin: the name of the file that stands in the place of a model that no library has.

    Raises:
        ConfigError: the file can't be read, or be mended by leaving something out.
        UsageError: something is missing or wrong, and there is no terminal to ask at.
    """
    file = asked.interview.answer(
        "--from nncf-config FILE",
        None if old is None else str(old),
        "The file of NNCF's config",
        existing_file,
    )
    asked.interview.complete()
    assert file is not None
    try:
        translation = Translation(read(file), str(file))
    except UnreadableError as error:
        raise UsageError(f"{file}: {error}") from error
    _set_paths(asked, translation, file.parent)
    _set_options(asked, translation)
    if not translation.names_model:
        translation.use_plugin(plugin, "it names no model")
    while "plugin" not in translation.data and (faults := refused(translation.data, asked.folder)):
        nameless = [why for key, why in faults.items() if key not in QUESTION or key in _NAMES]
        if nameless:
            translation.use_plugin(plugin, nameless[0])
        for key, why in faults.items() if not nameless else ():
            asked.interview.refuse(f"--{QUESTION[key]}", why)
            _ask_again(asked, translation, QUESTION[key])
    return translation


def _set_paths(asked: Asked, translation: Translation, folder: Path) -> None:
    """Paths that begin where the old file is begin where the new one is."""
    for key in ("dataset_dir", "weights"):
        path = translation.data.get(key)
        if isinstance(path, str) and is_file(path):
            moved = asked.relative(str(folder / Path(path).expanduser()))
            if moved != path:
                translation.set(key, moved, "is the same, from the new file's folder on")


def _set_options(asked: Asked, translation: Translation) -> None:
    options = asked.options
    if options.data is not None:
        translation.set("dataset_dir", asked.relative(options.data), "as --data says")
    if options.download:
        translation.set("download", True, "as --download says")
        if "dataset_dir" not in translation.data:
            translation.set("dataset_dir", asked.relative("data"), "as --download needs a folder")
    if options.weights is not None:
        _set_weights(asked, translation, options.weights, "as --weights says")
    if options.budget is not None:
        translation.set_budget(percent(options.budget), "as --budget says")


def _set_weights(asked: Asked, translation: Translation, answer: str, why: str) -> None:
    keys = weights_of(asked, answer)
    for other in {"weights", "pretrained"} - keys.keys():
        translation.drop(other, why)
    for key, value in keys.items():
        translation.set(key, value, why)


def _ask_again(asked: Asked, translation: Translation, option: str) -> None:
    data = translation.data
    if option == "weights":
        answer = asked.interview.typed("The file of the trained weights, or pretrained")
        _set_weights(asked, translation, answer, _SAID)
        return
    folder = data.get("dataset_dir", "data")
    where = {"data": folder, **other_data(asked, data.get("dataset", "imagenet"), folder)}
    translation.set("dataset_dir", asked.relative(where["data"]), _SAID)
    if where["download"]:
        translation.set("download", True, _SAID)
    else:
        translation.drop("download", _SAID)
