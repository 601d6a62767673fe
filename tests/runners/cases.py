"""The runners that keep the contract: a name, and the module whose ``make_case()`` builds one."""

from __future__ import annotations

from importlib import import_module

from tests.runners.base import Case

CASES = {
    "fake": "tests.runners.fake",
    "numpy": "tests.runners.digits",
    "replayed": "tests.runners.replayed",
    "torch": "tests.runners.torch_case",
    "torch-averaged": "tests.runners.torch_averaged_case",
    "torch-int8": "tests.runners.torch_int8_case",
    "torch-sparsity": "tests.runners.torch_sparse_case",
}


def make_case(name: str) -> Case:
    """A fresh case; its module, and the framework with it, is imported only now."""
    case: Case = import_module(CASES[name]).make_case()
    return case
