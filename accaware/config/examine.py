"""A config's data to a RunConfig and everything that there is to say about it.

Schemas are chosen by name: the mode names the schema of the search's parameters, the algorithm
that of its section. So a fault speaks of the one thing that is wrong. Rules across keys look at
the keys that are right in themselves, whatever is wrong beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accaware.config import build
from accaware.config.model.algorithms import SUPPORTED, algorithm_fault, algorithm_meant
from accaware.config.model.config import RunConfig
from accaware.config.rules.checked_sections import Algorithm, Training
from accaware.config.rules.combinations import mix_faults
from accaware.config.rules.initial_phase import without_schedule
from accaware.config.rules.optimizer import optimizer_faults
from accaware.config.rules.quantization import quantization_faults
from accaware.config.rules.search import search_faults
from accaware.config.rules.training_snippet import training_snippet
from accaware.config.schema.annotations import notices
from accaware.config.schema.applicability import fold_case
from accaware.config.schema.catalog import Schema, definitions, properties, schema
from accaware.config.schema.conformance import conformance
from accaware.config.schema.misplaced_keys import Homes
from accaware.config.schema.outside import algorithm_at_top, at_top_fault, whole_fault
from accaware.config.text.document import Document
from accaware.config.text.fault import Fault, has_errors, warning
from accaware.config.text.messages import closest, listed
from accaware.config.text.paths import KeyPath, prefixes

_TRAINING: KeyPath = ("accuracy_aware_training",)
_COMPRESSION: KeyPath = ("compression",)


@dataclass
class Examination:
    """``config`` is None where there is an error."""

    config: RunConfig | None = None
    faults: list[Fault] = field(default_factory=list)


def examine(document: Document, directory: Path) -> Examination:
    """Check ``document`` as a whole; its own faults of the text are not repeated."""
    data = fold_case(schema("config"), document.data)
    examiner = _Examiner(document)
    faults = examiner.faults
    if not isinstance(data, dict):
        _no_object(data, examiner)
        return Examination(faults=faults)
    mode = _mode(data)
    entries = _entries(data)
    names = _names(entries)
    examiner.learn_homes(data, mode, entries, names)
    at_top = algorithm_at_top(data)
    if at_top:
        entries, names = [*entries, ((), at_top)], [*names, algorithm_meant(at_top)]
        examiner.add(at_top_fault(list(at_top), data))
        examiner.settle((key,) for key in at_top)
    examiner.check("config", document.data, ())
    _sample_keys(data, examiner)
    training = _training(data, mode, examiner)
    algorithms = [
        _algorithm(entry, path, name, examiner)
        for (path, entry), name in zip(entries, names, strict=True)
    ]
    known = [one for one in algorithms if one is not None]
    _missing_sections(data, [name for name in names if name], known, examiner)
    _optimizer(data, examiner)
    mix = [(path, name) for (path, _), name in zip(entries, names, strict=True) if name]
    for fault in mix_faults(mode, mix, all_known=all(names)):
        examiner.add(fault)
    for fault in search_faults(training, known):
        examiner.add(fault)
    if has_errors((*faults, *document.faults)) or training is None:
        return Examination(faults=faults)
    built = tuple(
        one.config if training.follows_schedules else without_schedule(one.config) for one in known
    )
    return Examination(build.config(data, training.params, built, directory), faults)


class _Examiner:
    """Collects faults, but none on what the text's own faults already speak of.

    Nor is anything said of a key that was probably meant by what stands elsewhere.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._homes = Homes(document.data)
        self._homes.add((), schema("config"))
        self._wrong = {around for path in document.unread_paths for around in prefixes(path)}
        self._settled: set[KeyPath] = set()
        self.faults: list[Fault] = []

    def learn_homes(
        self,
        data: dict[str, Any],
        mode: str | None,
        entries: Sequence[tuple[KeyPath, Any]],
        names: Sequence[str | None],
    ) -> None:
        """The objects of this config whose schemas are chosen by a name."""
        self._homes.add((*_TRAINING, "params"), schema(mode or "adaptive_compression_level"))
        for (path, _), name in zip(entries, names, strict=True):
            if name is not None:
                self._homes.add(path, schema(name))
        for part, name in _optimizer_parts(data):
            self._homes.add(("optimizer", part), schema(f"optimizer#{name}"))

    def check(self, name: str, data: Any, path: KeyPath) -> None:
        """Say what is wrong with ``data`` by the schema ``name``, and what is to be said besides.

        A value is wrong in one way, and where it is wrong nothing is said of its effect.
        """
        wrong: set[KeyPath] = set()
        for fault in conformance(name, fold_case(schema(name), data), path, self._homes):
            if fault.path not in wrong:
                wrong.add(fault.path)
                self.add(fault)
        for fault in notices(name, data, path, {one[-1] for one in wrong if one}):
            if fault.severity == "error" or fault.path not in wrong:
                self.add(fault)

    def right(self, path: KeyPath) -> bool:
        """Whether nothing wrong was found so far at ``path`` or below."""
        return path not in self._wrong

    def sound(self, of: Schema, data: dict[str, Any], path: KeyPath) -> tuple[Any, set[str]]:
        """``data`` without what is wrong in it, and the keys that are wrong or missing."""
        kept: dict[str, Any] = {}
        missing = {key for key in of.get("required", ()) if key not in data}
        faulty = missing | {key for key in properties(of) if not self.right((*path, key))}
        for key, value in data.items():
            if self.right((*path, key)):
                kept[key] = value
            else:
                faulty |= {key, *properties(properties(of).get(key, {}))}
        params = data.get("params", {})
        if "params" in properties(of) and isinstance(params, dict):
            kept["params"], inner = self.sound(properties(of)["params"], params, (*path, "params"))
            faulty = faulty - set(properties(properties(of)["params"])) | inner
        return kept, faulty

    def settle(self, paths: Iterable[KeyPath]) -> None:
        """All has been said of what stands there, though not of what lies within."""
        self._settled.update(paths)

    def add(self, fault: Fault) -> None:
        if self._document.unread(fault.path) or fault.path in self._settled:
            return
        self.faults.append(fault)
        if fault.severity != "error":
            return
        self._wrong.update(prefixes(fault.path))
        if fault.meant is not None:
            self._wrong.add(fault.meant)
            self._settled.add(fault.meant)


def _no_object(data: Any, examiner: _Examiner) -> None:
    """A list may hold algorithms, whose own faults are told too."""
    entries = [((index,), one) for index, one in enumerate(data)] if isinstance(data, list) else []
    entries = entries[: _most_entries()]
    names = _names(entries)
    known = [
        _algorithm(entry, path, name, examiner)
        for (path, entry), name in zip(entries, names, strict=True)
        if name is not None
    ]
    snippet = training_snippet(
        [name for name in names if name], [one for one in known if one is not None]
    )
    examiner.add(whole_fault(data, snippet))


def _names(entries: Sequence[tuple[KeyPath, Any]]) -> list[str | None]:
    return [algorithm_meant(one) if isinstance(one, dict) else None for _, one in entries]


def _most_entries() -> int:
    """More than fit together are refused as such; the first ones are looked at."""
    most: int = properties(schema("config"))["compression"]["maxItems"]
    return most


def _mode(data: dict[str, Any]) -> str | None:
    """The mode, or the one that was probably meant; the fault itself is the schema's to tell."""
    section = data.get("accuracy_aware_training")
    section = section if isinstance(section, dict) else {}
    params = section.get("params")
    params = params if isinstance(params, dict) else {}
    modes = properties(schema("accuracy_aware_training"))["mode"]["enum"]
    for home in (section, params, data):
        mode = home.get("mode")
        if isinstance(mode, str):
            meant = mode if mode in modes else closest(mode, modes)
            if meant is not None:
                return meant
    # No mode says so, but the keys that one of them needs do.
    return next((mode for mode in modes if set(schema(mode)["required"]) & params.keys()), None)


def _training(data: dict[str, Any], mode: str | None, examiner: _Examiner) -> Training | None:
    section = data.get("accuracy_aware_training")
    if mode is None or not isinstance(section, dict) or not isinstance(section.get("params"), dict):
        return None
    path = (*_TRAINING, "params")
    examiner.check(mode, section["params"], path)
    of = schema(mode)
    params, faulty = examiner.sound(of, section["params"], path)
    stand_ins = dict.fromkeys(of["required"], 1)
    return Training(
        path,
        build.training(mode, {**stand_ins, **params}),
        frozenset(section["params"]),
        frozenset(faulty),
    )


def _entries(data: dict[str, Any]) -> list[tuple[KeyPath, Any]]:
    """The entries of `compression` with their paths."""
    section = data.get("compression")
    if isinstance(section, dict):
        return [(_COMPRESSION, section)]
    entries = section[: _most_entries()] if isinstance(section, list) else []
    return [((*_COMPRESSION, index), entry) for index, entry in enumerate(entries)]


def _algorithm(
    entry: Any, path: KeyPath, name: str | None, examiner: _Examiner
) -> Algorithm | None:
    if not isinstance(entry, dict):
        return None
    fault = algorithm_fault(entry, path)
    misspelt = fault.path[-1] if fault is not None else None
    meant = {key: value for key, value in entry.items() if key != misspelt} | {"algorithm": name}
    if name is not None:
        examiner.check(name, meant, path)
    if fault is not None:
        examiner.add(fault)
    if name is None:
        return None
    given = entry.get("params", {})
    keys = frozenset(entry) | frozenset(given if isinstance(given, dict) else ())
    kept, faulty = examiner.sound(schema(name), meant, path)
    kept = fold_case(schema(name), kept)
    if name == "quantization":
        for fault in quantization_faults(kept, path):
            examiner.add(fault)
    if name == "knowledge_distillation":
        kept.setdefault("type", "mse")
    config = build.algorithm({**kept, "algorithm": name})
    return Algorithm(path, config, keys, frozenset(faulty))


def _missing_sections(
    data: dict[str, Any], names: Sequence[str], known: Sequence[Algorithm], examiner: _Examiner
) -> None:
    if "accuracy_aware_training" not in data:
        snippet = training_snippet(names, known)
        message = f"is missing, so there is nothing to search for; add {snippet}"
        examiner.add(Fault(_TRAINING, message, suggestion=snippet, at_key=True))
    if "compression" not in data:
        snippet = '"compression": {"algorithm": "filter_pruning"}'
        message = (
            f"is missing, so there is nothing to compress with; add {snippet}, or another of "
            f"{listed(SUPPORTED[1:], 'and')}"
        )
        examiner.add(Fault(_COMPRESSION, message, suggestion=snippet, at_key=True))


def _optimizer_parts(data: dict[str, Any]) -> list[tuple[str, str]]:
    """The objects in `optimizer` whose schemas its type and schedule_type choose, with those."""
    section = data.get("optimizer")
    if not isinstance(section, dict):
        return []
    chosen = {
        "optimizer_params": section.get("type", "SGD"),
        "schedule_params": section.get("schedule_type"),
    }
    known = definitions("optimizer")
    return [
        (part, name) for part, name in chosen.items() if isinstance(name, str) and name in known
    ]


def _optimizer(data: dict[str, Any], examiner: _Examiner) -> None:
    section = data.get("optimizer")
    if not isinstance(section, dict):
        return
    for part, name in _optimizer_parts(data):
        if isinstance(section.get(part), dict):
            examiner.check(f"optimizer#{name}", section[part], ("optimizer", part))
    if section.get("schedule_params") and section.get("schedule_type") is None:
        message = "is given without a schedule_type"
        examiner.add(Fault(("optimizer", "schedule_params"), message, at_key=True))
    if examiner.right(("optimizer",)):
        for fault in optimizer_faults(section):
            examiner.add(fault)


def _sample_keys(data: dict[str, Any], examiner: _Examiner) -> None:
    """One warning for all keys of NNCF's example scripts."""
    known = properties(schema("config"))
    keys = [key for key in data if known.get(key, {}).get("x-sample-key")]
    if keys:
        verb = "are ignored: keys" if len(keys) > 1 else "is ignored: a key"
        message = f"{listed(keys, 'and')} {verb} that only NNCF's example scripts read"
        examiner.add(warning((keys[0],), message))
