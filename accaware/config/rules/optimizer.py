"""The rules of the section `optimizer`, whose keys are each right in themselves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from accaware.config.text.fault import Fault
from accaware.config.text.paths import KeyPath


def optimizer_faults(section: dict[str, Any]) -> Iterator[Fault]:
    """What contradicts itself, and what is missing; a value may have several homes."""
    own, scheduling = section.get("optimizer_params", {}), section.get("schedule_params", {})
    homes: dict[str, list[tuple[KeyPath, Any]]] = {}
    sources: list[tuple[KeyPath, dict[str, Any]]] = [
        (("optimizer",), section),
        (("optimizer", "optimizer_params"), own),
        (("optimizer", "schedule_params"), scheduling),
    ]
    for path, values in sources:
        for key, value in values.items():
            homes.setdefault("base_lr" if key == "lr" else key, []).append(((*path, key), value))
    for name in ("base_lr", "weight_decay", "steps", "step", "gamma", "power"):
        (_, first), *others = homes.get(name) or [((), None)]
        for path, value in others:
            if value != first:
                message = f"{value} contradicts {first}, given for {name} as well; keep one"
                yield Fault(path, message, at_key=True)
    if own.get("nesterov") and not own.get("momentum"):
        message = "true needs a momentum above 0"
        yield Fault(("optimizer", "optimizer_params", "nesterov"), message)
    if section.get("schedule_type") == "multistep":
        path, steps = (homes.get("steps") or [(("optimizer", "steps"), [])])[0]
        if not steps:
            message = "is needed by schedule_type multistep: epochs at which the rate falls"
            yield Fault(path, message, at_key=True)
        elif any(later < earlier for earlier, later in pairwise(steps)):
            # Equal ones are right: there the rate falls twice, as in torch's MultiStepLR.
            yield Fault(path, f"{steps} must rise or stay from entry to entry")
