"""Inference runtimes that exported models run on, behind one Protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accaware.errors import UsageError
from accaware.runtimes.onnx_runtime import OnnxRuntime
from accaware.runtimes.openvino_runtime import OpenVINORuntime
from accaware.runtimes.runtime import Inputs, Kernel, Runtime, Session

__all__ = ["RUNTIMES", "Inputs", "Kernel", "Runtime", "Session", "runtime"]

RUNTIMES: Mapping[str, Callable[[], Runtime]] = {
    each.name: each for each in (OnnxRuntime, OpenVINORuntime)
}
"""By name, the one first that is taken where nobody chose."""


def runtime(name: str) -> Runtime:
    """An installed runtime.

    Raises:
        UsageError: accaware knows none of that name.
        MissingExtraError: it isn't installed; names the extra.
    """
    if name not in RUNTIMES:
        raise UsageError(f"there is no runtime {name!r}; there is {', '.join(RUNTIMES)}")
    return RUNTIMES[name]()
