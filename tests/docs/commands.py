"""Commands in the docs: run as their reader would, or held against what there is."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from accaware.cli.app import app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

OTHERS = {"mlflow", "tensorboard", "trtexec"}
"""Programs of others, which are taken as they are."""

QUICKLY = (
    "device=cpu",
    "num_workers=0",
    "accuracy_aware_training.params.maximal_total_epochs=2",
)
"""Of every run that is begun here."""


def commands(source: str) -> list[list[str]]:
    """The words of each line; what is behind a # is left out, and a backslash joins lines."""
    lines = source.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check(words: Sequence[str]) -> None:
    """That a command could be run: what it names is there, and takes its options.

    Raises:
        AssertionError, or what the command's own parser raises: it couldn't.
    """
    program, *rest = words
    match program:
        case "accaware":
            parse(rest)
        case "torchrun":
            _check_torchrun(rest)
        case "pip":
            _check_pip(rest)
        case "make":
            assert set(rest) <= TARGETS, f"the Makefile has no {rest}"
        case "python":
            _check_script(rest)
        case "srun":
            check([word for word in rest if word != "&"])
        case "pytest":
            assert (ROOT / rest[0].partition("::")[0]).exists(), rest[0]
        case _:
            assert program in OTHERS, f"nobody knows how to check {program}"


def run(words: Sequence[str], settings: Sequence[str]) -> str:
    """Run an accaware command in the current folder; any other is checked.

    Args:
        settings: of the config, for runs that are begun, over QUICKLY.

    Raises:
        AssertionError: it failed.
    """
    words, target = _redirected(words)
    if words[0] != "accaware" or words[1].startswith("-"):
        check(words)
        return ""
    arguments = _expanded(words[1:])
    allowed = {0}
    if arguments[0] == "run" and "--resume" not in arguments:
        arguments += [word for one in (*QUICKLY, *settings) for word in ("--set", one)]
        allowed.add(3)  # in so few epochs there may be nothing within budget
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code in allowed, f"{shlex.join(arguments)}:\n{done.output}"
    if target is not None:
        Path(target).write_text(done.stdout, encoding="utf-8")
    return done.stdout


def parse(arguments: Sequence[str]) -> None:
    """Let the command line's own parser take the words of an accaware command.

    Options before a command act as soon as they are parsed (one installs completions), so that
    these are only looked up.
    """
    group: Any = typer.main.get_command(app)
    words, _ = _redirected(arguments)
    if words[0].startswith("-"):
        known = {name for option in group.params for name in (*option.opts, *option.secondary_opts)}
        assert set(words) <= known, words
        return
    with group.make_context("accaware", list(words)) as context:
        _, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context(command.name, rest, parent=context)


def _redirected(words: Sequence[str]) -> tuple[list[str], str | None]:
    if ">" not in words:
        return list(words), None
    where = words.index(">")
    return list(words[:where]), words[where + 1]


def _expanded(words: Sequence[str]) -> list[str]:
    """With the files that a pattern means, as a shell would have them."""
    found: list[str] = []
    for word in words:
        matches = sorted(map(str, Path().glob(word))) if re.search(r"[*]\S*$", word) else []
        found += matches or [word]
    return found


def _check_torchrun(words: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    options = get_args_parser().parse_args(words)
    assert (options.module, options.training_script) == (True, "accaware")
    parse(options.training_script_args)


def _check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        if word.startswith("-"):
            assert word in ("-e", "--editable"), word
            continue
        name, extras = re.fullmatch(r"([.\w]+)(?:\[(.*)\])?", word).groups()  # type: ignore[union-attr]
        assert name in (".", PROJECT["name"]), word
        known = PROJECT["optional-dependencies"]
        assert set(filter(None, (extras or "").split(","))) <= set(known), word


def _check_script(words: list[str]) -> None:
    """Its options stand in its text: starting it would import torch."""
    script = ROOT / words[0]
    text = script.read_text(encoding="utf-8")
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word}"' in text, f"{words[0]} has no {word}"
