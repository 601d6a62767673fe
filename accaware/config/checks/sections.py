"""Each section against its schema and its own rules, as far as it is right.

Schemas are chosen by name: the mode names the schema of the search's parameters, the algorithm
that of its section. So a fault speaks of the one thing that is wrong. Rules across keys look at
the keys that are right in themselves, whatever is wrong beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accaware.config import build
from accaware.config.checks.findings import Findings
from accaware.config.checks.outline import TRAINING, Entry, Outline
from accaware.config.checks.preset import added, filled
from accaware.config.model.algorithms import algorithm_fault
from accaware.config.model.presets import Preset
from accaware.config.rules.checked_sections import Algorithm, Training
from accaware.config.rules.optimizer import optimizer_faults
from accaware.config.rules.quantization import quantization_faults
from accaware.config.schema.annotations import notices
from accaware.config.schema.applicability import Data, fold_case, required_keys
from accaware.config.schema.catalog import properties, schema
from accaware.config.schema.conformance import conformance
from accaware.config.schema.misplaced_keys import Homes
from accaware.config.text.fault import Fault, warning
from accaware.config.text.messages import listed
from accaware.config.text.paths import KeyPath


class Checker:
    """Checks the sections of one config.

    Args:
        homes: where its keys belong.
        findings: grow by what is found.
    """

    def __init__(self, homes: Homes, findings: Findings) -> None:
        self._homes = homes
        self._findings = findings

    def root(self, written: Any, outline: Outline) -> None:
        """The top of a config, ``written`` in whatever case, and NNCF's keys in it.

        There is one warning for all keys of NNCF's example scripts.
        """
        self._conform("config", written, ())
        known = properties(schema("config"))
        keys = [key for key in outline.data if known.get(key, {}).get("x-sample-key")]
        if keys:
            verb = "are ignored: keys" if len(keys) > 1 else "is ignored: a key"
            message = f"{listed(keys, 'and')} {verb} that only NNCF's example scripts read"
            self._findings.add(warning((keys[0],), message))

    def training(self, outline: Outline) -> Training | None:
        """The search's parameters; None where the data has too little of them."""
        section, mode = outline.data.get("accuracy_aware_training"), outline.mode
        if mode is None or not isinstance(section, dict):
            return None
        given = section.get("params")
        if not isinstance(given, dict):
            return None
        path = (*TRAINING, "params")
        keys = {} if outline.preset is None else outline.preset.params.get(mode, {})
        whole = self._conform(mode, given, path, keys)
        params, faulty = self._findings.sound(schema(mode), whole, path)
        stand_ins = dict.fromkeys(required_keys(schema(mode), params), 1)
        built = build.training(mode, {**stand_ins, **params})
        return Training(path, built, frozenset(given), frozenset(faulty))

    def algorithms(self, entries: Sequence[Entry], preset: Preset | None = None) -> list[Algorithm]:
        """Those of the ``entries`` whose algorithm is known."""
        own = {} if preset is None else preset.algorithms
        checked = [
            self._algorithm(entry, own.get(entry.name or "", {}))
            for entry in entries
            if isinstance(entry.data, dict)
        ]
        return [one for one in checked if one is not None]

    def added_algorithms(self, outline: Outline) -> list[Algorithm]:
        """Those that the preset adds."""
        self._findings.assume(entry.path for entry in outline.added)
        return self.algorithms(outline.added)

    def _algorithm(self, entry: Entry, keys: Mapping[str, Any]) -> Algorithm | None:
        path, data, name = entry
        fault = algorithm_fault(data, path)
        misspelt = fault.path[-1] if fault is not None else None
        meant = {key: value for key, value in data.items() if key != misspelt}
        meant["algorithm"] = name
        whole = meant if name is None else self._conform(name, meant, path, keys)
        if fault is not None:
            self._findings.add(fault)
        if name is None:
            return None
        given = data.get("params", {})
        written = frozenset(data) | frozenset(given if isinstance(given, dict) else ())
        kept, faulty = self._findings.sound(schema(name), whole, path)
        kept = fold_case(schema(name), kept)
        if name == "quantization":
            self._findings.add(*quantization_faults(kept, path))
        if name == "knowledge_distillation":
            kept.setdefault("type", "mse")
        built = build.algorithm({**kept, "algorithm": name})
        return Algorithm(path, built, written, frozenset(faulty))

    def optimizer(self, outline: Outline) -> None:
        """The section `optimizer`; it is built of data."""
        section = outline.data.get("optimizer")
        if not isinstance(section, dict):
            return
        for part, name in outline.optimizer_parts:
            if isinstance(section.get(part), dict):
                self._conform(f"optimizer#{name}", section[part], ("optimizer", part))
        if section.get("schedule_params") and section.get("schedule_type") is None:
            message = "is given without a schedule_type"
            self._findings.add(Fault(("optimizer", "schedule_params"), message, at_key=True))
        if self._findings.right(("optimizer",)):
            self._findings.add(*optimizer_faults(section))

    def _conform(
        self, name: str, data: Any, path: KeyPath, keys: Mapping[str, Any] | None = None
    ) -> Data:
        """Say what is wrong with ``data`` by the schema ``name``, and what is to be said besides.

        A value is wrong in one way, and where it is wrong nothing is said of its effect.

        Args:
            keys: that a preset stands for.

        Returns:
            The data with those of the keys that it doesn't give itself.
        """
        whole = filled(schema(name), data, keys) if keys else data
        assumed = set(added(data, whole, path)) if keys else set()
        self._findings.assume(assumed)
        wrong: set[KeyPath] = set()
        for fault in conformance(name, fold_case(schema(name), data), path, self._homes, whole):
            if fault.path not in wrong:
                wrong.add(fault.path)
                self._findings.add(fault)
            if fault.meant is not None:
                wrong.add(fault.meant)
        for fault in notices(name, whole, path, {one[-1] for one in wrong if one}, assumed):
            if fault.severity == "error" or fault.path not in wrong:
                self._findings.add(fault)
        return whole
