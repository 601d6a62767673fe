"""A benchmark as a table."""

from __future__ import annotations

import io
import re
from dataclasses import replace

from accaware.report.benchmark import SIMULATED, BenchmarkReport
from accaware.report.console import console_on
from accaware.results.benchmark import Benchmark, Convolutions, Throughput
from accaware.results.sizes import Size
from tests.rundir.test_result_document import LATENCY

FOUND = Benchmark(
    model="ResNet",
    latency=LATENCY,
    throughput=Throughput(dense=250.0, compressed=1000.0),
    file_size=Size(44_800_000, 3_000_000),
    peak_memory=Size(99_000_000, 12_000_000),
    memory_of="process",
    convolutions=Convolutions(dense={"float32": 20}, compressed={"int8": 19, "float32": 1}),
)


def shown(found: Benchmark) -> str:
    stream = io.StringIO()
    console_on(stream).print(BenchmarkReport(found), crop=False)
    return stream.getvalue()


def rows(text: str) -> dict[str, list[str]]:
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if "  " in line]
    return {line[0]: line[1:] for line in lines}


def test_a_runtime() -> None:
    text = shown(FOUND)
    assert text.startswith("ResNet in onnxruntime 1.32.0 on cpu, 2 threads, a batch of 1\n")
    assert rows(text) == {
        "dense": ["compressed"],
        "latency, median": ["4 ms", "1 ms", "4.00x faster"],
        "middle half": ["3.5 ms - 4.5 ms", "900 us - 1.2 ms"],
        "throughput": ["250 /s", "1,000 /s"],
        "file size": ["44.8 MB", "3 MB", "14.9x smaller"],
        "peak memory": ["99 MB", "12 MB", "8.2x smaller"],
        "convolutions": ["20 float32", "19 int8, 1 float32"],
    }
    assert "what loading and running the model adds to a process of its own" in text
    assert "simulate" not in text
    assert text.isascii() or "\u2500" in text


def test_what_is_simulated_is_called_so() -> None:
    slower = replace(
        LATENCY,
        runtime="pytorch",
        simulated=True,
        dense=LATENCY.compressed,
        compressed=LATENCY.dense,
    )
    text = shown(replace(FOUND, latency=slower, memory_of="tensors", convolutions=None))
    assert rows(text)["latency, median"][-1] == "4.00x slower (simulated)"
    assert SIMULATED in " ".join(text.split())
    assert "of the tensors that are alive at once" in text
    assert "convolutions" not in text


def test_where_memory_is_not_told() -> None:
    assert "emory" not in shown(replace(FOUND, peak_memory=None))
