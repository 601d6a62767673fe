from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def no_inference_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end as where only PyTorch is installed: exporting each model would take longest."""
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
