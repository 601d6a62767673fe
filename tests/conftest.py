"""Property tests try the same examples each time, so that a gate that passed passes again.

``HYPOTHESIS_PROFILE=explore pytest`` tries new and many more ones.

Each process of the tests, and each that a test starts, computes with one thread: they are as many
as there are cores, and sums come out the same however many those are.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is imported

FIRST = (
    "tests/pairwise/test_rows.py",
    "tests/ray/test_executors.py",
    "tests/ray/test_runs.py",
    "tests/pytorch/export/test_formats.py",
    "tests/pytorch/channels/test_zoo.py",
    "tests/e2e/",
    "tests/resume/",
    "tests/torchrun/",
    "tests/docs/",
)
"""What takes longest, where several processes run the tests, or one would be left with it."""

settings.register_profile("gate", deadline=None, derandomize=True, max_examples=75)
settings.register_profile("explore", deadline=None, database=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order them for processes that each take one module after another."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: [not item.nodeid.startswith(place) for place in FIRST])


def pytest_collection_finish() -> None:
    """All that was imported stays; it needn't be looked over for garbage again and again.

    Processes that are forked would get memory of their own for that.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_inference_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where only PyTorch is installed: exporting each run's model would take longest.

    What is timed in PyTorch instead is called a few times.
    """
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    if "torch" in sys.modules:
        monkeypatch.setattr("accaware.pytorch.run._TIMING_SECONDS", 0.01)


@pytest.fixture(scope="session")
def operators_read_once() -> Iterator[None]:
    """Torch's exporter reads the source of all ONNX operators before each file; here just once.

    In a small model's export that takes longer than the rest.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        read = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(read))
        yield
