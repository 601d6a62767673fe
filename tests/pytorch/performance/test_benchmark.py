"""Two models in each runtime, through the door for Python."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import MissingExtraError, RunError, UsageError
from accaware.pytorch import benchmark, create_compressed_model
from accaware.pytorch.performance.compare import Comparison
from accaware.results.benchmark import Benchmark
from tests.pytorch.export.networks import LAYERS, SmallResNet
from tests.pytorch.quantization.scripts import QUANTIZATION, batches
from tests.pytorch.training.scripts import EXAMPLE, adaptive, compressed
from tests.runners.torch_case import PRUNING, digits, trained_model

pytestmark = pytest.mark.usefixtures("operators_read_once")

RUNTIMES = ("pytorch", "onnxruntime", "openvino")


def dense_model() -> nn.Module:
    torch.manual_seed(0)
    return SmallResNet(8)


@pytest.fixture(scope="module")
def pruned_int8() -> nn.Module:
    config = adaptive([PRUNING, QUANTIZATION])
    controller, model = create_compressed_model(dense_model(), config, EXAMPLE, batches()[:2])
    controller.compression_rate = 0.5
    return model


def found(dense: nn.Module, small: nn.Module, **options: Any) -> Benchmark:
    return benchmark(dense, small, digits()[0][:3], seconds=0.05, **options)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_pruned_and_int8(pruned_int8: nn.Module, runtime: str) -> None:
    dense = dense_model().train()
    before = copy.deepcopy(dense.state_dict())
    text = found(dense, pruned_int8, runtime=runtime, batch=4, threads=2).to_json()
    told = json.loads(text)
    latency = told["latency"]
    assert told["model"] == "SmallResNet"
    assert (latency["runtime"], latency["device"]) == (runtime, "cpu")
    assert (latency["threads"], latency["batch"]) == (2, 4)
    assert latency["simulated"] is (runtime == "pytorch")
    for kind in ("dense", "compressed"):
        own = latency[kind]
        assert 0 < own["lower_quartile"] <= own["median"] <= own["upper_quartile"]
        assert own["forwards"] >= 3
        assert told["throughput"][kind] == pytest.approx(4 / own["median"])
    assert told["file_size"]["compressed"] > 0
    assert told["peak_memory"] is not None
    if runtime == "pytorch":
        assert told["memory_of"] == "tensors"
        assert told["convolutions"] is None
        assert told["file_size"]["compressed"] < told["file_size"]["dense"]
    else:
        assert told["memory_of"] == "process"
        kinds = told["convolutions"]
        assert kinds == {"dense": {"float32": LAYERS - 1}, "compressed": {"int8": LAYERS - 1}}
    assert torch.get_num_threads() == 1
    assert dense.training
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())


def test_memory_of_tensors_is_counted_to_the_byte() -> None:
    model = nn.Sequential(nn.Linear(8, 100), nn.ReLU(), nn.Linear(100, 1), nn.Sigmoid())
    told = benchmark(
        model, model, torch.zeros(1, 8), runtime="pytorch", batch=5, seconds=0.01
    ).peak_memory
    weights = 8 * 100 + 100 + 100 + 1
    inputs, hidden = 5 * 8, 5 * 100
    assert told is not None
    # At the second layer: the first one's output has gone by then, ReLU's is in use.
    assert told.dense == told.compressed == 4 * (weights + inputs + 2 * hidden)


def test_rates_are_told_of_the_batch_that_was_asked_for() -> None:
    seen: list[torch.Size] = []

    class Watching(nn.Module):
        def forward(self, images: Tensor, scale: Tensor) -> Tensor:
            seen.append(images.shape)
            return images * scale

    inputs = {"images": torch.randn(3, 1, 8, 8), "scale": torch.tensor(2.0)}
    benchmark(Watching(), Watching(), inputs, runtime="pytorch", batch=6, seconds=0.001)
    assert set(seen) == {torch.Size([6, 1, 8, 8])}


def test_the_first_runtime_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = trained_model()
    controller, small = compressed()
    controller.compression_rate = 0.5
    assert Comparison().chosen == "onnxruntime"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)  # onnxruntime alone can't be given a model
        assert Comparison().chosen == "pytorch"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert Comparison().chosen == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert found(dense, small).latency.runtime == "pytorch"
    for name, extra in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        with pytest.raises(MissingExtraError, match=rf"accaware\[{extra}\]"):
            found(dense, small, runtime=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch 0 is below the minimum 1"),
        ({"threads": -2}, "threads -2 is below the minimum 1"),
        ({"runtime": "tflite"}, "no runtime 'tflite'; there is pytorch, onnxruntime, openvino"),
    ],
)
def test_bad_usage(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        found(trained_model(), trained_model(), **options)


def test_a_model_that_cannot_be_exported() -> None:
    class Undecided(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(RunError, match="can't export Undecided"):
        found(Undecided(), Undecided(), runtime="onnxruntime")
    assert found(Undecided(), Undecided(), runtime="pytorch").latency.dense.median > 0
