"""The network of tests.runners.torch_case, pruned and quantized at once."""

from __future__ import annotations

from tests.runners.base import Case
from tests.runners.torch_case import PRUNING, case_of, removed


def make_case() -> Case:
    distillation = {"algorithm": "knowledge_distillation", "type": "softmax", "scale": 0.1}
    mix = [PRUNING, {"algorithm": "quantization"}, distillation]
    return case_of(mix, removed, closeness=1 / 32)
