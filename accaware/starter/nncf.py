"""A config of NNCF 2 to one of accaware: what means something here is kept, and all else is told.

What a key means is asked of the examination that every config goes through: a key that it calls
ignored or unsupported is taken out, with its words, and one that it reads under another name gets
that name.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.config.examine import examine
from accaware.config.model.algorithms import LEVELLED, algorithm_instead
from accaware.config.model.task import TaskConfig
from accaware.config.rules.initial_phase import INITIAL_LEVELS, SCHEDULE_PARAMS
from accaware.config.schema.catalog import properties, schema
from accaware.config.text.document import Document
from accaware.config.text.fault import Fault, has_errors
from accaware.config.text.paths import KeyPath, dotted
from accaware.errors import ConfigError
from accaware.starter import config

_TRAINING = ("accuracy_aware_training",)
_BUDGET = 1.0
_MOST_CHANGES = 1000
"""More than any file has; each takes a key out or gives it a name that is known."""


@dataclass(frozen=True)
class Change:
    """``kind`` is dropped, changed or added; ``why`` says what became of the keys."""

    kind: str
    keys: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"{self.kind} {', '.join(self.keys)}: {self.why}"


class Translation:
    """A config of NNCF's on its way.

    Args:
        text: of its file, comments and all; ``name`` stands in messages.

    Attributes:
        data: as accaware has it, without any comment.

    Raises:
        ConfigError: the text can't be read, or what is wrong in it can't be mended by leaving
            something out.
    """

    def __init__(self, text: str, name: str) -> None:
        self._told: dict[tuple[str, str], list[str]] = {}
        document = Document.of_text(text, name)
        if not document.complete or has_errors(document.faults):
            raise ConfigError(document.diagnostics(()))
        if not isinstance(document.data, dict):
            raise ConfigError(document.diagnostics(examine(document, Path()).faults))
        self.data: dict[str, Any] = copy.deepcopy(document.data)
        self._drop_sample_keys()
        self._mend_optimizer()
        self._use_preset()
        for _ in range(_MOST_CHANGES):
            fault = next(iter(_in_order(self.data)), None)
            if fault is None:
                return
            if not self._mend(fault):
                break
        raise ConfigError([one for one in _diagnostics(self.data, name) if one.severity == "error"])

    @property
    def changes(self) -> list[Change]:
        """What is told of each reason, with the keys that it is told of."""
        return [Change(kind, tuple(keys), why) for (kind, why), keys in self._told.items()]

    @property
    def names_model(self) -> bool:
        """Whether it names a model, which a library may have."""
        return "model" in self.data

    def use_plugin(self, file: str, why: str) -> None:
        """Have a plugin in the place of the model and the data that it names."""
        for key in [key for key in self.data if key in vars(TaskConfig())]:
            del self.data[key]
            self._tell("dropped", key, f"is the plugin's to say: {why}")
        self.data = {"plugin": file, **self.data}

    def set(self, key: str, value: Any, why: str) -> None:
        """Give a key at the top a value."""
        known = self.data.get(key)
        if known != value:
            self.data[key] = value
            self._tell("added" if known is None else "changed", key, why)

    def set_budget(self, percent: float, why: str) -> None:
        """Have another budget, in percent of the baseline."""
        params = self.data["accuracy_aware_training"]["params"]
        params.pop("maximal_absolute_accuracy_degradation", None)
        key = "maximal_relative_accuracy_degradation"
        params[key] = percent
        self._tell("changed", f"accuracy_aware_training.params.{key}", why)

    def drop(self, key: str, why: str) -> None:
        """Take a key at the top out."""
        if self.data.pop(key, None) is not None:
            self._tell("dropped", key, why)

    def _tell(self, kind: str, key: str, why: str) -> None:
        self._told.setdefault((kind, why), []).append(key)

    def _drop_sample_keys(self) -> None:
        known = properties(schema("config"))
        for key in [key for key in self.data if known.get(key, {}).get("x-sample-key")]:
            self.drop(key, "only NNCF's example scripts read it")

    def _use_preset(self) -> None:
        section = self.data.get("accuracy_aware_training")
        if isinstance(section, dict) and "preset" not in section:
            self.data["accuracy_aware_training"] = {
                **{key: value for key, value in section.items() if key == "mode"},
                "preset": "recommended",
                **section,
            }
            why = "is recommended; without it the search is NNCF's to the letter"
            self._tell("added", "accuracy_aware_training.preset", why)
            self._drop_schedule()

    def _drop_schedule(self) -> None:
        """What describes it, where no trial follows it any more."""
        section = self.data["accuracy_aware_training"]
        if section.get("mode") != "adaptive_compression_level":
            return
        if section.get("params", {}).get("strategy", "ramp") != "ramp":
            return
        entries = self.data.get("compression")
        several = enumerate(entries) if isinstance(entries, list) else [(None, entries)]
        for index, entry in several:
            name = "compression" if index is None else f"compression[{index}]"
            if not isinstance(entry, dict) or entry.get("algorithm") not in LEVELLED:
                continue
            self._drop_all(entry, INITIAL_LEVELS, name)
            if isinstance(entry.get("params"), dict):
                self._drop_all(entry["params"], SCHEDULE_PARAMS, f"{name}.params")
                if not entry["params"]:
                    del entry["params"]

    def _drop_all(self, holder: dict[str, Any], keys: Iterable[str], name: str) -> None:
        for key in [key for key in holder if key in keys]:
            del holder[key]
            why = "describes the schedule of NNCF's initial phase, and the search here has none"
            self._tell("dropped", f"{name}.{key}", why)

    # The optimizer: what TensorFlow's example scripts call otherwise -------------------------

    def _mend_optimizer(self) -> None:
        section = self.data.get("optimizer")
        if not isinstance(section, dict):
            return
        if str(section.get("type")).lower() == "momentum":
            section["type"] = "SGD"
            section["optimizer_params"] = {"momentum": 0.9, **section.get("optimizer_params", {})}
            self._tell("changed", "optimizer.type", "momentum is SGD with a momentum")
        kind, params = section.get("schedule_type"), section.get("schedule_params")
        if kind not in _TENSORFLOW or not isinstance(params, dict):
            return
        del section["schedule_type"], section["schedule_params"]
        levels = params.get("values") or [params.get("init_learning_rate")]
        if isinstance(levels[0], int | float):
            section.setdefault("base_lr", levels[0])
            self._tell("changed", "optimizer.schedule_params", f"base_lr is {levels[0]:g}")
        steps, gamma = params.get("boundaries"), _gamma(levels)
        if steps and gamma is not None and len(steps) == len(levels) - 1:
            section |= {"schedule_type": "multistep", "steps": steps, "gamma": gamma}
            self._tell("changed", "optimizer.schedule_type", f"{kind} is multistep here")
        else:
            why = f"{kind} is no schedule here; the learning rate stays as it is"
            self._tell("dropped", "optimizer.schedule_type", why)

    # What the examination says ---------------------------------------------------------------

    def _mend(self, fault: Fault) -> bool:
        """Do away with a fault, if there is a way."""
        path = fault.path
        if path == _TRAINING and path[0] not in self.data:
            self._add_training(fault)
            return True
        holder = _at(self.data, path[:-1]) if path else None
        if holder is None or not _has(holder, path[-1]):
            return False
        value = holder[path[-1]]
        instead = algorithm_instead(value) if path[-1] == "algorithm" else None
        if fault.severity == "note" or instead is not None:
            self._rename(holder, fault, instead)
            return True
        del holder[path[-1]]
        self._tell("dropped", dotted(path), _as_reason(fault.message))
        self._tidy(path[:-1])
        return True

    def _rename(self, holder: Any, fault: Fault, instead: str | None) -> None:
        key = fault.path[-1]
        if fault.at_key:
            # In the place of the old one, so that the file keeps its order.
            entries = [(fault.suggestion if k == key else k, v) for k, v in holder.items()]
            holder.clear()
            holder.update(entries)
        else:
            holder[key] = fault.suggestion if instead is None else instead
        self._tell("changed", dotted(fault.path), fault.message)

    def _add_training(self, fault: Fault) -> None:
        assert fault.suggestion is not None
        wanted = json.loads("{" + fault.suggestion + "}")["accuracy_aware_training"]
        searched = wanted["mode"] == "adaptive_compression_level"
        self.data = (
            {key: value for key, value in self.data.items() if key != "compression"}
            | {"accuracy_aware_training": config.search(_BUDGET, searched=searched)}
            | {key: value for key, value in self.data.items() if key == "compression"}
        )
        why = "there was none, so that there was no budget: set yours"
        self._tell("added", "accuracy_aware_training", why)
        self._drop_schedule()

    def _tidy(self, path: KeyPath) -> None:
        """Take out an object that has become empty, and those around it."""
        while len(path) > 1 and _at(self.data, path) == {}:
            if path == (*_TRAINING, "params"):
                return
            del _at(self.data, path[:-1])[path[-1]]
            path = path[:-1]


_TENSORFLOW = ("piecewise_constant", "step_warmup")


def _gamma(levels: list[Any]) -> float | None:
    """The factor from each level to the next; None where there is no such."""
    if len(levels) < 2 or not all(isinstance(one, int | float) and one > 0 for one in levels):
        return None
    factors = {round(after / before, 6) for before, after in itertools.pairwise(levels)}
    return factors.pop() if len(factors) == 1 else None


def _in_order(data: Mapping[str, Any]) -> Iterator[Fault]:
    """What is to be mended: errors last, as a key that is taken out may be the reason of one."""
    document = Document.of_mapping(data)
    faults = (*document.faults, *examine(document, Path()).faults)
    for severity in ("note", "error", "warning"):
        yield from (fault for fault in faults if fault.severity == severity)


def _diagnostics(data: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    document = Document.of_text(json.dumps(data), name)
    return document.diagnostics(examine(document, Path()).faults)


def _at(data: Any, path: KeyPath) -> Any:
    """The value at a path; None where there is none."""
    for key in path:
        if not _has(data, key):
            return None
        data = data[key]
    return data


def _has(holder: Any, key: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(key, int) and key < len(holder)
    return isinstance(holder, dict) and key in holder


def _as_reason(message: str) -> str:
    return re.sub("^(.* are|.* is|is) ignored: ", "", message)
