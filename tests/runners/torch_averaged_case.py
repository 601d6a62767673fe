"""The network of tests.runners.torch_case, pruned, with averaged weights."""

from __future__ import annotations

from tests.runners.base import Case
from tests.runners.torch_case import PRUNING, case_of, removed


def make_case() -> Case:
    return case_of(PRUNING, removed, closeness=1 / 32, weight_averaging="polynomial")
