"""The page of all keys of a config, made of the JSON schemas whenever the site is built.

A heading is a key's path as messages name it, and its anchor is what every Markdown renderer makes
of that: `accuracy_aware_training.params.patience_epochs` stands at
`#accuracy_aware_trainingparamspatience_epochs`. Keys of an algorithm have its name behind
`compression`, as several algorithms know keys of the same name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from accaware.config.model.algorithms import SUPPORTED
from accaware.config.schema.applicability import ways
from accaware.config.schema.catalog import Schema, properties, schema
from accaware.config.schema.json_schema import bundled

PAGE = "reference/config.md"
MODES = ("adaptive_compression_level", "early_exit")
SCOPE = "<scope>"
"""Stands for a key that the user makes up."""

Data = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """A key in one of the places that know it.

    Attributes:
        path: within a config; an algorithm's without the index of its list.
        of: the mode, algorithm, optimizer or schedule by whose schema it is known, or "".
        required: whether that schema asks for it.
    """

    path: tuple[str, ...]
    about: Schema
    of: str = ""
    required: bool = False

    @property
    def title(self) -> str:
        """The path in words, which no other key has."""
        steps = list(self.path)
        if self.of in SUPPORTED:
            steps.insert(1, self.of)
        return ".".join(steps)

    @property
    def anchor(self) -> str:
        """Of its heading."""
        return "".join(letter for letter in self.title if letter.isalnum() or letter in "_-")

    @property
    def refused(self) -> bool:
        """Whether it is known only so that a message can say what to use instead."""
        return "x-unsupported" in self.about

    @property
    def example_value(self) -> Any:
        """The schema's first example, or else what isn't the default.

        Raises:
            KeyError: the schema has none, and none follows from it.
        """
        about = self.about
        if "examples" in about:
            # Where a list and a bare default are possible, the first example may be the default.
            return next(
                (one for one in about["examples"] if one != about.get("default")),
                about["examples"][0],
            )
        if "const" in about:
            return about["const"]
        if about.get("type") == "boolean":
            return about.get("x-ignored", {}).get("when", not about.get("default", False))
        choices = about.get("enum") or [[one] for one in about.get("items", {}).get("enum", ())]
        if choices:
            return next(one for one in choices if one != about.get("default"))
        if properties(about):
            inner = next(iter(_children(about, self.path, self.of)))
            return {inner.path[-1]: inner.example_value}
        raise KeyError(f"{self.title} has no example in the schema")

    @property
    def example(self) -> Data:
        """What of a config sets it: the key, and others without which it has no effect."""
        whole = _context(self)
        for other, values in _needed(self).items():
            if values[0] is not None:
                _put(whole, _home(self, other), other, values[0])
        _put(whole, self.path[:-1], self.path[-1], self.example_value)
        for path, value, beside in _RULES:
            if value in (_ANY, _got(whole, path)) and _got(whole, path) is not None:
                for place, needed in beside.items():
                    _put(whole, place[:-1], place[-1], needed)
        return whole


_TRAINING = ("accuracy_aware_training", "params")
_ANY = object()
_RULES: list[tuple[tuple[str, ...], Any, Mapping[tuple[str, ...], Any]]] = [
    (("engine",), "ray", {(*_TRAINING, "parallel_trials"): 2}),
    ((*_TRAINING, "parallel_trials"), _ANY, {(*_TRAINING, "strategy"): "ramp"}),
    (("optimizer", "schedule_params"), {"gamma": 0.3}, {("optimizer", "schedule_type"): "step"}),
    (("optimizer", "schedule_type"), "multistep", {("optimizer", "steps"): [3, 4]}),
    (
        ("optimizer", "optimizer_params", "nesterov"),
        True,
        {("optimizer", "optimizer_params", "momentum"): 0.9},
    ),
    (
        ("compression", "params", "sparsity_pattern"),
        "2:4",
        {("accuracy_aware_training", "mode"): "early_exit"},
    ),
    *(
        (("input_info", other), _ANY, {("input_info", "sample_size"): [1, 3, 224, 224]})
        for other in ("type", "filler", "keyword")
    ),
]
"""A path, its value, and what a rule across keys, which no schema says, wants beside it."""


@cache
def all_keys() -> list[Key]:
    """All of them, in the order of the schemas; the same path once for each that knows it."""
    found: list[Key] = []
    top = {**schema("config"), "required": bundled()["required"]}
    for key in _children(top, (), ""):
        found.append(key)
        if key.path == ("accuracy_aware_training", "params"):
            for mode in MODES:
                found += _children(schema(mode), key.path, mode)
        elif key.path == ("compression",):
            for algorithm in SUPPORTED:
                found += _children(schema(algorithm), key.path, algorithm)
        elif key.path in (("optimizer", "optimizer_params"), ("optimizer", "schedule_params")):
            chosen = "type" if key.path[-1] == "optimizer_params" else "schedule_type"
            for name in properties(schema("optimizer"))[chosen]["enum"]:
                found += _children(schema(f"optimizer#{name}"), key.path, name)
    return found


def _children(of: Schema, path: tuple[str, ...], known_by: str) -> Iterator[Key]:
    for name, about in properties(of).items():
        key = Key((*path, name), about, known_by, name in of.get("required", ()))
        yield key
        if not key.refused and "x-alias-of" not in about:
            yield from _children(about, key.path, known_by)
    made_up = of.get("additionalProperties")
    if isinstance(made_up, dict) and properties(made_up):
        yield from _children(made_up, (*path, SCOPE), known_by)


def _needed(key: Key) -> Mapping[str, Sequence[Any]]:
    """By the name of another key the values that let this one, or an object around it, count."""
    found: dict[str, Sequence[Any]] = {}
    for steps in range(1, len(key.path) + 1):
        outer = next(
            (one for one in all_keys() if (one.path, one.of) == (key.path[:steps], key.of)), None
        )
        found |= dict(ways(outer.about)[0]) if outer and ways(outer.about) else {}
    return found


def _home(key: Key, other: str) -> tuple[str, ...]:
    """The object that ``other`` stands in, which lets ``key`` count: as near as there is one."""
    named = [one for one in all_keys() if one.path[-1] == other]
    homes = [one.path[:-1] for one in named if one.of in (key.of, "")]
    around = {key.path[:steps] for steps in range(len(key.path))}
    around |= {(*home, "params") for home in around}
    return max(around.intersection(homes), key=len)


def _context(key: Key) -> Data:
    """What names the mode, the algorithm or the class that knows the key."""
    if key.of in SUPPORTED:
        kind = {"type": "mse"} if key.of == "knowledge_distillation" else {}
        return {"compression": {"algorithm": key.of, **kind}}
    if key.of == "early_exit":
        return {"accuracy_aware_training": {"mode": key.of}}
    if key.of and key.of not in MODES:
        chosen = "type" if key.path[1] == "optimizer_params" else "schedule_type"
        return {"optimizer": {chosen: key.of}}
    return {}


def _put(whole: Data, path: Sequence[str], last: str, value: Any) -> None:
    here = whole
    for step in path:
        here = here.setdefault("conv1" if step == SCOPE else step, {})
    here[last] = value


def _got(whole: Data, path: Sequence[str]) -> Any:
    here: Any = whole
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    return here


def whole_config(key: Key) -> Data:
    """A config that can be run and has the key's example in it."""
    example = key.example
    training = dict(example.get("accuracy_aware_training", {}))
    by_default = "early_exit" if key.of in ("quantization", "early_exit") else MODES[0]
    mode = training.setdefault("mode", by_default)
    epochs = "initial_training_phase_epochs" if mode == MODES[0] else "maximal_total_epochs"
    params = {epochs: 110, **training.get("params", {})}
    if mode == MODES[0]:
        params = {"patience_epochs": 5, **params}
    if not any(name.endswith("_accuracy_degradation") for name in params):
        params["maximal_relative_accuracy_degradation"] = 1.0
    compression = example.get("compression", {"algorithm": "filter_pruning"})
    if compression.get("algorithm") == "knowledge_distillation":
        compression = [{"algorithm": "filter_pruning"}, compression]
    return {
        **example,
        "accuracy_aware_training": {**training, "params": params},
        "compression": compression,
    }


_WIDTH = 80
"""Of a line of an example."""

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minLength": "not empty",
}


def kind(about: Schema) -> str:
    """The type, in words, with what its entries are."""
    if "const" in about:
        return f"`{json.dumps(about['const'])}`"
    if "enum" in about:
        return " or ".join(f"`{json.dumps(one)}`" for one in about["enum"])
    types = about.get("type", "object" if properties(about) else "any")
    told = " or ".join([types] if isinstance(types, str) else types)
    entries = about.get("items")
    if isinstance(entries, dict) and entries.get("type") not in (None, "object"):
        told += f" (of {kind(entries)}{''.join(f', {one}' for one in bounds(entries))})"
    return f"{told}: {about['x-expected']}" if "x-expected" in about else told


def bounds(about: Schema) -> list[str]:
    """Its limits, a phrase each."""
    found = [words.format(about[name]) for name, words in _BOUNDS.items() if name in about]
    return [phrase.replace(" 1 entries", " 1 entry") for phrase in found]


def _facts(key: Key) -> str:
    about = key.about
    # What another key decides is told with that one.
    required = key.required and "x-used-with" not in about
    default = f"default `{json.dumps(about['default'])}`" if "default" in about else "no default"
    facts = [kind(about), *bounds(about), "**required**" if required else default]
    if key.required and not required:
        facts.append("**required** where it counts")
    return ", ".join(facts)


def _remarks(key: Key) -> Iterator[str]:
    about = key.about
    alternatives = [_spoken(way) for way in ways(about) if way]
    if alternatives:
        yield f"Counts where {', or where '.join(alternatives)}."
    if "x-excludes" in about:
        yield f"Not together with `{about['x-excludes']}`."
    if "x-alias-of" in about:
        yield f"Another name of `{about['x-alias-of']}`."
    if "x-formerly" in about:
        yield f"Formerly {', '.join(f'`{one}`' for one in about['x-formerly'])}."
    if "x-ignored" in about:
        ignored = about["x-ignored"]
        which = f"`{json.dumps(ignored['when'])}` is ignored" if "when" in ignored else "Ignored"
        yield f"{which}, with a warning: {ignored['why']}."
    if "x-unsupported" in about:
        yield f"Refused: {about['x-unsupported']['what']}; {about['x-unsupported']['instead']}."
    for value, instead in about.get("x-unsupported-values", {}).items():
        yield f"`{json.dumps(value)}` is refused: use {instead}."
    if about.get("x-sample-key"):
        yield "Read by NNCF's example scripts alone: ignored, with a warning."


def _spoken(way: Mapping[str, Sequence[Any]]) -> str:
    parts = []
    for other, values in way.items():
        if list(values) == [None]:
            parts.append(f"`{other}` isn't given")
        else:
            parts.append(f"`{other}` is {' or '.join(f'`{json.dumps(one)}`' for one in values)}")
    return " and ".join(parts)


def _entry(of_one_title: Sequence[Key]) -> str:
    """A heading and all that is to be said of a key by those that know it."""
    first = of_one_title[0]
    lines = [f"#### `{first.title}` {{ #{first.anchor} }}", ""]
    told: dict[str, list[str]] = {}
    for key in of_one_title:
        says = [key.about.get("description", key.about.get("title", "")), _facts(key)]
        text = "\n\n".join([f"{_sentence(says[0])}", f"*{says[1]}*", " ".join(_remarks(key))])
        told.setdefault(text.strip(), []).append(key.of)
    for text, names in told.items():
        if len(told) > 1 or (names[0] and names[0] not in (*SUPPORTED, *MODES)):
            lines += [f"For {', '.join(f'`{name}`' for name in names)}:", ""]
        lines += [text, ""]
    if not first.refused:
        example = json.dumps(first.example)
        if len(example) > _WIDTH:
            example = json.dumps(first.example, indent=2)
        lines += ["```json5", example, "```", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    # A file's name keeps its letters.
    begun = text[:1].upper() + text[1:] if text.split(" ")[0].rstrip(",:").isalpha() else text
    return begun + ("" if text.endswith(".") or not text else ".")


def page() -> str:
    """The whole page, in Markdown."""
    by_title: dict[str, list[Key]] = {}
    for key in all_keys():
        by_title.setdefault(key.title, []).append(key)
    sections: dict[str, list[str]] = {}
    for found in by_title.values():
        sections.setdefault(_section(found[0]), []).append(_entry(found))
    parts = [_HEAD]
    for name, entries in sections.items():
        parts += [f"## {name}", "", *entries]
    return "\n".join(parts)


def _section(key: Key) -> str:
    if key.about.get("x-sample-key"):
        return "Keys of NNCF's example scripts"
    if key.path[0] in ("accuracy_aware_training", "optimizer"):
        return f"`{key.path[0]}`"
    if key.path[0] == "compression":
        return f"`compression`: `{key.of}`" if key.of else "`compression`"
    return "The top of a config"


_HEAD = """\
---
toc_depth: 2
---

# The config, key by key

Made of the schema that checks a config, and that `accaware schema` prints for editors. Each key
has its type, its default, its bounds and an example; what stands beside a key in an example is
what it needs to have an effect. The anchor of a key is its path without the dots, as in
[`#accuracy_aware_trainingparamspatience_epochs`](#accuracy_aware_trainingparamspatience_epochs);
the path is the one that messages name it by. `compression` is one algorithm or a list of them,
and the keys of each algorithm stand under its name.

A config is JSON; comments and trailing commas are welcome. What has no effect is a warning,
what isn't known an error that says what to write instead.

"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site (an event of MkDocs)."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
