"""A config's data to a RunConfig and everything that there is to say about it, in a line.

Document → outline, what it names → checked sections → config. Each step takes the value of
the one before and adds to the faults that were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accaware.config import build
from accaware.config.checks.findings import Findings
from accaware.config.checks.outline import (
    COMPRESSION,
    TRAINING,
    Entry,
    Outline,
    entries_of,
    outlined,
)
from accaware.config.checks.sections import Checker
from accaware.config.model.algorithms import SUPPORTED, algorithm_meant
from accaware.config.model.config import RunConfig
from accaware.config.rules.checked_sections import Algorithm, Training
from accaware.config.rules.combinations import mix_faults
from accaware.config.rules.initial_phase import without_schedule
from accaware.config.rules.search import engine_faults, search_faults
from accaware.config.rules.training_snippet import training_snippet
from accaware.config.schema.applicability import fold_case
from accaware.config.schema.catalog import schema
from accaware.config.schema.misplaced_keys import Homes
from accaware.config.schema.outside import algorithm_at_top, at_top_fault, whole_fault
from accaware.config.text.document import Document
from accaware.config.text.fault import Fault, has_errors
from accaware.config.text.messages import listed


@dataclass(frozen=True)
class Examination:
    """``config`` is None where there is an error, be it of the document itself."""

    config: RunConfig | None
    faults: tuple[Fault, ...]


def examine(document: Document, directory: Path) -> Examination:
    """Check ``document`` as a whole; its own faults of the text are not repeated."""
    findings, homes = Findings(document.unread_paths), Homes(document.data)
    homes.add((), schema("config"))
    checker = Checker(homes, findings)
    data = fold_case(schema("config"), document.data)
    if not isinstance(data, dict):
        findings.add(_no_object(data, checker))
        return Examination(None, tuple(findings.faults))
    outline = outlined(data)
    outline.add_homes(homes)
    outline = _with_algorithm_at_top(outline, findings)
    checker.root(document.data, outline)
    training = checker.training(outline)
    algorithms = checker.algorithms(outline.entries, outline.preset)
    algorithms += checker.added_algorithms(outline)
    findings.add(*_missing_sections(outline, algorithms))
    checker.optimizer(outline)
    named = [(entry.path, entry.name) for entry in outline.entries if entry.name]
    all_known = len(named) == len(outline.entries)
    findings.add(*mix_faults(outline.mode, named, all_known=all_known))
    findings.add(*search_faults(training, algorithms))
    findings.add(*engine_faults(data.get("engine"), training))
    config = None
    if training is not None and not has_errors((*document.faults, *findings.faults)):
        config = _built(data, training, algorithms, directory)
    return Examination(config, tuple(findings.faults))


def _no_object(data: Any, checker: Checker) -> Fault:
    """A list may hold algorithms, whose own faults are found too."""
    several = data if isinstance(data, list) else []
    entries = entries_of(several, ((index,) for index in range(len(several))))
    named = [entry for entry in entries if entry.name is not None]
    algorithms = checker.algorithms(named)
    return whole_fault(data, training_snippet([one.name for one in named if one.name], algorithms))


def _with_algorithm_at_top(outline: Outline, findings: Findings) -> Outline:
    """An algorithm that was written outside of `compression` is looked at all the same."""
    found = algorithm_at_top(outline.data)
    if not found:
        return outline
    findings.add(at_top_fault(list(found), outline.data))
    findings.settle((key,) for key in found)
    entry = Entry((), found, algorithm_meant(found))
    return replace(outline, entries=(*outline.entries, entry))


def _missing_sections(outline: Outline, algorithms: Sequence[Algorithm]) -> list[Fault]:
    faults = []
    if "accuracy_aware_training" not in outline.data:
        snippet = training_snippet(outline.names, algorithms)
        message = f"is missing, so there is nothing to search for; add {snippet}"
        faults.append(Fault(TRAINING, message, suggestion=snippet, at_key=True))
    if "compression" not in outline.data:
        snippet = '"compression": {"algorithm": "filter_pruning"}'
        message = (
            f"is missing, so there is nothing to compress with; add {snippet}, or another of "
            f"{listed(SUPPORTED[1:], 'and')}"
        )
        faults.append(Fault(COMPRESSION, message, suggestion=snippet, at_key=True))
    return faults


def _built(
    data: dict[str, Any], training: Training, algorithms: Sequence[Algorithm], directory: Path
) -> RunConfig:
    """A schedule that nothing follows is no part of the config."""
    built = tuple(
        one.config if training.follows_schedules else without_schedule(one.config)
        for one in algorithms
    )
    return build.config(data, training.params, built, directory)
