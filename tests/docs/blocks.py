"""What each block of a page is, and what is done with it.

Sybil finds the blocks and keeps a page's Python names; a block is known by its fence:

    ```sh               commands, run one after another in the page's folder
    ```sh elsewhere     commands that need what isn't here (a cluster, a GPU, a download): checked
    ```sh title="x.sh"  a script for elsewhere: bash reads it, and what it starts is checked
    ```python           run, with the names of the blocks before it
    ```json5            a config, or keys of one, which has nothing to complain of
    ```... title="x"    written as the file x first; Python is imported by who uses it, not run
    ```text             what a program says, or a picture
    ```yaml             parsed; an accaware command in it is checked
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from sybil import Document, Example
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer
from sybil.region import Region

from accaware.config.load import examine_text
from accaware.config.text.document import Document as ConfigText
from tests.docs import commands

FENCE = re.compile(r"(?P<language>\w+)?(?P<options>[^\n]*)$\n", re.MULTILINE)

AROUND: dict[str, Any] = {
    "plugin": "mine.py",
    "accuracy_aware_training": {
        "mode": "adaptive_compression_level",
        "preset": "recommended",
        "params": {"maximal_relative_accuracy_degradation": 1.0, "patience_epochs": 5},
    },
    "compression": {"algorithm": "filter_pruning"},
}
"""What a few keys are put into, to be a config."""


class Page:
    """A page, its blocks and how its reader's folder differs from the text.

    Args:
        settings: of runs that its commands begin, besides those that make every run short.
        instead: what is read in place of a text in its blocks, to be quick.
    """

    def __init__(
        self, path: Path, settings: Sequence[str] = (), instead: Mapping[str, str] | None = None
    ) -> None:
        self.settings = tuple(settings)
        self._instead = dict(instead or {})
        self.blocks: list[Example] = list(Document.parse(str(path), self._parse))

    def run(self) -> None:
        """All blocks in order, in the current folder."""
        for block in self.blocks:
            block.evaluate()

    def _parse(self, document: Document) -> list[Region]:
        regions = list(RawFencedCodeBlockLexer(FENCE)(document))
        for region in regions:
            region.parsed = self._block(region)
            region.evaluator = self._evaluate
        return regions

    def _block(self, region: Region) -> tuple[str, str, str]:
        text = str(region.lexemes["source"])
        for this, that in self._instead.items():
            text = text.replace(this, that)
        return region.lexemes["language"] or "", region.lexemes["options"].strip(), text

    def _evaluate(self, example: Example) -> None:
        language, options, text = example.parsed
        title = re.search(r'title="(.*?)"', options)
        if title:
            Path(title[1]).write_text(text, encoding="utf-8")
        words = set(re.sub(r'title=".*?"', "", options).split())
        assert words <= {"elsewhere"}, f"{example.path}:{example.line}: a fence says {options}"
        assert language in _DO, f"{example.path}:{example.line}: nobody knows what {language} is"
        _DO[language](self, example, text, bool(title) or "elsewhere" in words)


def _commands(page: Page, example: Example, text: str, only_checked: bool) -> None:
    if text.startswith("#!"):
        text = _started(text)
    for words in commands.commands(text):
        if only_checked:
            commands.check(words)
        else:
            commands.run(words, page.settings)


def _started(script: str) -> str:
    """The commands that a script for a cluster starts, once bash has read it."""
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    found: list[str] = re.findall(r"^srun (?:.*\\\n)*.*$", script, re.MULTILINE)
    assert found, "nothing of the script is known"
    return "\n".join(found)


def _python(page: Page, example: Example, text: str, only_compiled: bool) -> None:
    code = compile("\n" * example.line + text, str(example.path), "exec")  # the page's own lines
    if not only_compiled:
        exec(code, example.namespace)


def _config(page: Page, example: Example, text: str, only_checked: bool) -> None:
    whole = text.lstrip().startswith("{")
    if not whole:
        keys = ConfigText.of_text("{" + text + "\n}", "keys")
        text = json.dumps(merged(AROUND, keys.data))
    elif '"accuracy_aware_training"' not in text:
        text = json.dumps(merged(AROUND, ConfigText.of_text(text, "keys").data))
    outcome = examine_text(text, f"{example.path}:{example.line}", Path(), ())
    told = [one for one in outcome.diagnostics if one.severity != "note"]
    assert not told, "\n".join(map(str, told))


def merged(around: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """``keys`` over a config, objects into objects."""
    found = copy.deepcopy(dict(around))
    if "model" in keys:
        del found["plugin"]
    for key, value in keys.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        both = both and "mode" not in value  # another mode has other keys
        found[key] = merged(found[key], value) if both else value
    return found


def _yaml(page: Page, example: Example, text: str, only_checked: bool) -> None:
    _walk(yaml.safe_load(text))


def _walk(part: Any) -> None:
    if isinstance(part, dict):
        words = [*part.get("command", []), *part.get("args", [])]
        if words and words[0] in ("accaware", "torchrun"):
            commands.check(words)
        part = list(part.values())
    if isinstance(part, list):
        for entry in part:
            _walk(entry)


def _nothing(page: Page, example: Example, text: str, only_checked: bool) -> None:
    """Text for people."""


_DO: dict[str, Callable[[Page, Example, str, bool], None]] = {
    "sh": _commands,
    "bash": _commands,
    "python": _python,
    "json5": _config,
    "json": _config,
    "yaml": _yaml,
    "text": _nothing,
}
