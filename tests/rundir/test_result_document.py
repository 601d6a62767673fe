"""result.json says what the search found, key by key."""

from __future__ import annotations

import json
import math

import pytest

from accaware.results import strict_json
from accaware.results.exports import ExportInfo
from accaware.results.handed_over import HandedOver
from accaware.results.latency import Latency, LatencyComparison
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes, Size
from accaware.rundir.result_file import result_document
from tests.runners.fake import adaptive, early_exit, holds_up_to, search

SIZES = ModelSizes(
    parameters=Size(1000, 100),
    nonzero_parameters=Size(990, 95),
    flops=Size(5000, 700),
    filters=Size(64, 13),
    file_size=Size(4100, 500),
)
LAYERS = (
    LayerSizes(
        name="conv",
        kind="Conv2d",
        filters=Size(64, 13),
        parameters=Size(640, 130),
        nonzero_parameters=Size(640, 100),
        flops=Size(5000, 700),
    ),
)
QUANTIZERS = (
    QuantizerInfo(
        place="conv.weight", bits=8, mode="symmetric", granularity="channel", range=(-1.5, 1.5)
    ),
    QuantizerInfo(place="conv input", bits=4, mode="asymmetric", granularity="tensor", range=None),
)

LATENCY = LatencyComparison(
    runtime="onnxruntime",
    version="1.32.0",
    device="cpu",
    threads=2,
    batch=1,
    simulated=False,
    dense=Latency(median=4e-3, lower_quartile=3.5e-3, upper_quartile=4.5e-3, forwards=50),
    compressed=Latency(median=1e-3, lower_quartile=9e-4, upper_quartile=1.2e-3, forwards=200),
)
EXPORTS = (
    ExportInfo(
        format="onnx",
        file="run/exports/model.onnx",
        file_size=1234,
        opset=21,
        dynamic_batch=True,
        samples=360,
        largest_difference=1e-6,
        largest_output=9.5,
        same_top1=None,
        metric=0.95,
        model_metric=0.96,
    ),
)


def test_a_search_within_budget() -> None:
    params = adaptive(minimal_compression_rate_step=0.1, patience_epochs=2)
    result = search(holds_up_to(0.65), params, loss=lambda rate, age: 0.5).run().result
    document = result_document(
        result,
        HandedOver(
            sizes=SIZES, layers=LAYERS, quantizers=QUANTIZERS, latency=LATENCY, exports=EXPORTS
        ),
        metric_name="top1",
        seconds=1.23456,
    )
    assert document == {
        "status": "within_budget",
        "stop_reason": "step_below_minimum",
        "metric": {"name": "top1", "higher_is_better": True},
        "baseline": 1.0,
        "minimal_tolerable": 0.9,
        "best": {
            "trial": 1,
            "target_rate": 0.6,
            "compression_rate": 0.6,
            "metric": 1.0,
            "absolute_degradation": 0.0,
            "relative_degradation": 0.0,
            "epoch": 2,
            "standard_error": None,
        },
        "required_confidence": None,
        "samples": None,
        "confirmation": None,
        "epochs": 5,
        "seconds": 1.235,
        "trials": [
            {
                "number": number,
                "phase": phase,
                "target_rate": rate,
                "compression_rate": rate,
                "lr_factor": factor,
                "start": start,
                "epochs": epochs,
                "metric": metric,
                "standard_error": None,
                "within_budget": metric == 1,
                "reason": reason,
            }
            for number, phase, rate, factor, start, epochs, metric, reason in [
                (0, "initial", 0.5, 1.0, None, 1, 1.0, "within budget"),
                (1, "search", 0.6, 1.0, 0, 2, 1.0, "within budget"),
                (2, "search", 0.7, 1.0, 1, 2, 0.0, "beyond the limit by 0.9"),
            ]
        ],
        "model": {
            "parameters": {"dense": 1000, "compressed": 100},
            "nonzero_parameters": {"dense": 990, "compressed": 95},
            "flops": {"dense": 5000, "compressed": 700},
            "filters": {"dense": 64, "compressed": 13},
            "file_size": {"dense": 4100, "compressed": 500},
        },
        "layers": [
            {
                "name": "conv",
                "kind": "Conv2d",
                "filters": {"dense": 64, "compressed": 13},
                "parameters": {"dense": 640, "compressed": 130},
                "nonzero_parameters": {"dense": 640, "compressed": 100},
                "flops": {"dense": 5000, "compressed": 700},
            },
        ],
        "quantizers": [
            {
                "place": "conv.weight",
                "bits": 8,
                "mode": "symmetric",
                "granularity": "channel",
                "range": [-1.5, 1.5],
            },
            {
                "place": "conv input",
                "bits": 4,
                "mode": "asymmetric",
                "granularity": "tensor",
                "range": None,
            },
        ],
        "latency": {
            "runtime": "onnxruntime",
            "version": "1.32.0",
            "device": "cpu",
            "threads": 2,
            "batch": 1,
            "simulated": False,
            "dense": {
                "median": 0.004,
                "lower_quartile": 0.0035,
                "upper_quartile": 0.0045,
                "forwards": 50,
            },
            "compressed": {
                "median": 0.001,
                "lower_quartile": 0.0009,
                "upper_quartile": 0.0012,
                "forwards": 200,
            },
        },
        "exports": [
            {
                "format": "onnx",
                "file": "run/exports/model.onnx",
                "file_size": 1234,
                "opset": 21,
                "dynamic_batch": True,
                "samples": 360,
                "largest_difference": 1e-6,
                "largest_output": 9.5,
                "same_top1": None,
                "metric": 0.95,
                "model_metric": 0.96,
                "fixed_batch": None,
            }
        ],
    }
    assert json.loads(strict_json.document(document)) == document


def test_nothing_judged_has_no_best_and_no_model() -> None:
    result = search(lambda rate, age: math.nan).run().result
    document = result_document(result, None, metric_name="top1", seconds=0)
    assert document["status"] == "not_within_budget"
    assert document["best"] is None
    assert document["model"] is None
    assert document["trials"][0]["metric"] is None
    assert document["trials"][0]["reason"] == "the metric is nan in epoch 1"


def test_a_best_effort_is_told_as_such() -> None:
    params = adaptive(minimal_compression_rate=0.3)
    result = search(lambda rate, age: 1 - rate, params).run().result
    document = result_document(result, HandedOver(sizes=SIZES), metric_name="top1", seconds=0)
    assert document["status"] == "not_within_budget"
    assert document["stop_reason"] == "minimal_rate"
    assert document["best"]["compression_rate"] == 0.3
    assert document["best"]["absolute_degradation"] == pytest.approx(0.3)
    assert document["best"]["relative_degradation"] == pytest.approx(30)


def test_lower_is_better_and_a_baseline_of_zero() -> None:
    params = adaptive(maximal_absolute_accuracy_degradation=0.5)
    done = search(lambda rate, age: rate / 2, params, baseline=0.0, higher_is_better=False).run()
    document = result_document(done.result, HandedOver(sizes=SIZES), metric_name="loss", seconds=0)
    assert document["metric"] == {"name": "loss", "higher_is_better": False}
    assert document["minimal_tolerable"] == 0.5
    assert document["best"]["relative_degradation"] is None


def test_a_validation_before_training_is_no_epoch() -> None:
    result = search(holds_up_to(1), early_exit()).run().result
    document = result_document(result, HandedOver(sizes=SIZES), metric_name="top1", seconds=0)
    assert document["trials"][0]["epochs"] == 0
    assert document["best"]["epoch"] == 0
    assert document["stop_reason"] == "within_budget"
