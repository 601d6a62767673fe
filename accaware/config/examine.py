"""A config's data to an AccAwareConfig and everything that there is to say about it.

Schemas are chosen by name: the mode names the schema of the search's parameters, the algorithm
that of its section. So a fault speaks of the one thing that is wrong. Rules across keys look at
the sections that are right in themselves, whatever is wrong elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from accaware.config import build
from accaware.config.algorithms import algorithm_fault
from accaware.config.catalog import definitions, properties, schema
from accaware.config.conformance import conformance
from accaware.config.document import Document
from accaware.config.fault import Fault, has_errors, warning
from accaware.config.model import AccAwareConfig, AlgorithmConfig
from accaware.config.notices import fold_case, notices
from accaware.config.optimizer_rules import optimizer_faults
from accaware.config.paths import Path
from accaware.config.rules import search_faults
from accaware.config.sections import Algorithm, Training
from accaware.config.wording import listed
from accaware.search.params import SearchParams

_TRAINING: Path = ("accuracy_aware_training",)
_COMPRESSION: Path = ("compression",)


@dataclass
class Examination:
    """``config`` is None where there is an error."""

    config: AccAwareConfig | None = None
    faults: list[Fault] = field(default_factory=list)


def examine(document: Document, directory: FilePath) -> Examination:
    """Check ``document`` as a whole; its own faults of the text are not repeated."""
    examiner = _Examiner(document)
    faults = examiner.faults
    data = fold_case(schema("config"), document.data)
    examiner.check("config", data, ())
    if not isinstance(data, dict):
        return Examination(faults=faults)
    _sample_keys(data, faults)
    training = _training(data, examiner)
    algorithms = _algorithms(data, examiner)
    _optimizer(data, examiner)
    faults += search_faults(training, [one for one in algorithms if one is not None])

    if has_errors((*faults, *document.faults)) or training is None:
        return Examination(faults=faults)
    built = tuple(one.config for one in algorithms if one is not None)
    return Examination(build.config(data, training.params, built, directory), faults)


class _Examiner:
    """Collects faults, but none on what the text's own faults already speak of."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.faults: list[Fault] = []

    def check(self, name: str, data: Any, path: Path) -> bool:
        """Whether ``data`` is right by the schema ``name``; says what is not."""
        for fault in conformance(name, data, path) + notices(name, data, path):
            self.add(fault)
        return self.right(path)

    def right(self, path: Path) -> bool:
        """Whether nothing wrong was found so far at ``path`` or below."""
        found = [fault for fault in self.faults if fault.path[: len(path)] == path]
        return not has_errors(found) and not self._document.unread_within(path)

    def add(self, fault: Fault) -> None:
        if not self._document.unread(fault.path):
            self.faults.append(fault)


def _training(data: dict[str, Any], examiner: _Examiner) -> Training | None:
    section = data.get("accuracy_aware_training")
    if "accuracy_aware_training" not in data:
        message = (
            "is missing, so there is nothing to search for; add it with "
            '"mode": "adaptive_compression_level" and params with '
            "maximal_relative_accuracy_degradation, initial_training_phase_epochs "
            "and patience_epochs"
        )
        examiner.add(Fault(_TRAINING, message, at_key=True))
    if not isinstance(section, dict) or not isinstance(section.get("params"), dict):
        return None
    mode: Any = section.get("mode")
    modes = properties(schema("accuracy_aware_training"))["mode"]["enum"]
    path = (*_TRAINING, "params")
    if mode not in modes or not examiner.check(mode, section["params"], path):
        return None
    params: SearchParams = build.training(section)
    return Training(path, params, frozenset(section["params"]))


def _algorithms(data: dict[str, Any], examiner: _Examiner) -> list[Algorithm | None]:
    """One entry for each entry of `compression`, None for those that are wrong."""
    if "compression" not in data:
        message = (
            "is missing, so there is nothing to compress with; add it with "
            '"algorithm": "filter_pruning" or "magnitude_sparsity"'
        )
        examiner.add(Fault(_COMPRESSION, message, at_key=True))
    section = data.get("compression")
    if isinstance(section, dict):
        return [_algorithm(section, _COMPRESSION, examiner)]
    if not isinstance(section, list):
        return []
    return [
        _algorithm(entry, (*_COMPRESSION, index), examiner) for index, entry in enumerate(section)
    ]


def _algorithm(entry: Any, path: Path, examiner: _Examiner) -> Algorithm | None:
    if not isinstance(entry, dict):
        return None
    fault = algorithm_fault(entry, path)
    if fault is not None:
        examiner.add(fault)
        return None
    name = entry["algorithm"]
    folded = fold_case(schema(name), entry)
    if not examiner.check(name, folded, path):
        return None
    config: AlgorithmConfig = build.algorithm(folded)
    return Algorithm(path, config, frozenset(entry.get("params", {})) | frozenset(entry))


def _optimizer(data: dict[str, Any], examiner: _Examiner) -> None:
    section = data.get("optimizer")
    if not isinstance(section, dict):
        return
    known = definitions("optimizer")
    for part, name, default in (
        ("optimizer_params", section.get("type", "SGD"), None),
        ("schedule_params", section.get("schedule_type"), None),
    ):
        inner = section.get(part, default)
        path = ("optimizer", part)
        if not isinstance(inner, dict):
            continue
        if name is None and inner:
            message = "is given without a schedule_type"
            examiner.add(Fault(path, message, at_key=True))
        elif isinstance(name, str) and name in known:
            examiner.check(f"optimizer#{name}", inner, path)
    if examiner.right(("optimizer",)):
        for fault in optimizer_faults(section):
            examiner.add(fault)


def _sample_keys(data: dict[str, Any], faults: list[Fault]) -> None:
    """One warning for all keys of NNCF's example scripts."""
    known = properties(schema("config"))
    keys = [key for key in data if known.get(key, {}).get("x-sample-key")]
    if keys:
        verb = "are ignored: keys" if len(keys) > 1 else "is ignored: a key"
        message = f"{listed(keys, 'and')} {verb} of NNCF's example scripts; here a plugin has them"
        faults.append(warning((keys[0],), message))
