"""The files to be written, by where a model comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from accaware.cli.init import ALGORITHMS
from accaware.cli.init.answers import (
    Asked,
    class_name,
    class_or_nothing,
    file_or_nothing,
    percent,
    something,
)
from accaware.cli.init.named import named_model
from accaware.cli.init.old_config import translated
from accaware.errors import UsageError
from accaware.extras import import_extra
from accaware.starter import config, plugins
from accaware.starter.commented import commented
from accaware.starter.words import words_for

PLUGIN = "plugin.py"

_NAMED = frozenset({"model", "weights", "dataset", "data", "download"})
_SHARED = frozenset({"algorithm", "budget"})
_OPTIONS = {
    "torchvision": _NAMED | _SHARED,
    "timm": _NAMED | _SHARED,
    "plugin": _SHARED,
    "lightning": _SHARED | {"module", "datamodule", "monitor", "checkpoint"},
    "nncf-config": frozenset({"weights", "data", "download", "budget"}),
}
"""Those that mean something, by where the model comes from."""

_HEAD = """\
accaware run FILE finds the most compressed model within the budget below.
accaware validate-config FILE checks all of it, and accaware schema tells of every key."""


@dataclass(frozen=True)
class Draft:
    """A config's data, other files by their names, and what was done to come to it."""

    data: config.Data
    files: dict[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    def config_text(self, path: Path) -> str:
        """The text of the config's file."""
        head = _HEAD.replace("FILE", path.name)
        return commented(self.data, words_for(self.data), head=head)


def drafted(asked: Asked, source: str, old: Path | None) -> Draft:
    """What is to be written.

    Args:
        source: one of SOURCES.
        old: the file of NNCF's, for that source.

    Raises:
        UsageError: something is missing or wrong, and there is no terminal to ask at.
    """
    given = [name for name, value in vars(asked.options).items() if value]
    idle = [f"--{name}" for name in given if name not in _OPTIONS[source]]
    if idle:
        raise UsageError(f"{' and '.join(idle)}: without a meaning with --from {source}")
    if source == "nncf-config":
        translation = translated(asked, old, PLUGIN)
        files = {PLUGIN: plugins.own_model(PLUGIN)} if "plugin" in translation.data else {}
        return Draft(translation.data, files, tuple(map(str, translation.changes)))
    if source == "lightning":
        return _lightning(asked)
    if source == "plugin":
        return _finished(asked, {"plugin": PLUGIN}, {PLUGIN: plugins.own_model(PLUGIN)})
    return _finished(asked, named_model(asked, source))


def _finished(
    asked: Asked,
    source: config.Data,
    files: dict[str, str] | None = None,
    *,
    configured: bool = False,
) -> Draft:
    """With what all sources share."""
    algorithm = asked.interview.choice(
        "--algorithm",
        asked.options.algorithm,
        "What is it to be compressed by",
        ALGORITHMS,
        default=ALGORITHMS[0],
    )
    budget = asked.interview.answer(
        "--budget",
        asked.options.budget,
        "How much of its accuracy may be lost, in percent of it?",
        percent,
        default="1.0",
    )
    assert algorithm is not None
    assert budget is not None
    data = config.whole(source, configured=configured, budget=budget, algorithm=algorithm)
    return Draft(data, files or {})


def _lightning(asked: Asked) -> Draft:
    if find_spec("lightning") is None and find_spec("pytorch_lightning") is None:
        import_extra("lightning", "lightning")
    options, interview = asked.options, asked.interview
    module = interview.answer(
        "--module",
        options.module,
        "The class of your LightningModule; where its file isn't there, one with blanks is made",
        class_name,
        default="module.py:Model",
    )
    datamodule = interview.answer(
        "--datamodule",
        options.datamodule,
        "The class of its data; nothing where the module has the data loaders",
        class_or_nothing,
        default="",
    )
    monitor = interview.answer(
        "--monitor",
        options.monitor,
        "What its validation logs, which the budget is about",
        something,
        default="val_acc",
    )
    checkpoint = interview.answer(
        "--checkpoint",
        options.checkpoint,
        "Its checkpoint; nothing to fill that in later",
        file_or_nothing,
        default="",
    )
    assert module is not None
    assert monitor is not None
    source = config.lightning_module(
        module=module,
        datamodule=datamodule or None,
        monitor=monitor,
        checkpoint=asked.relative(checkpoint) if checkpoint else None,
    )
    file, _, name = module.rpartition(":")
    files = {}
    if file.endswith(".py") and not (asked.folder / file).exists():
        beside, _, data = (datamodule or "").rpartition(":")
        files[file] = plugins.lightning(file, name, data if beside == file else None, monitor)
    return _finished(asked, source, files, configured=True)
