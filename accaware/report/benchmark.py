"""What `accaware benchmark` found out, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import NOTHING, counted, quantity, ratio, short_time, speedup
from accaware.results.benchmark import Benchmark
from accaware.results.latency import Latency, LatencyComparison

SIMULATED = (
    "PyTorch simulates the compressed model's integers in floats, which takes longer: how fast it "
    "is, --runtime onnxruntime or openvino tells."
)
_MEMORY = {
    "process": "Peak memory: what loading and running the model adds to a process of its own.",
    "tensors": "Peak memory: of the tensors that are alive at once in a forward.",
}


@dataclass(frozen=True)
class BenchmarkReport:
    """A benchmark, to be printed by rich."""

    benchmark: Benchmark

    def __rich__(self) -> RenderableType:
        return Group(*self._blocks())

    def _blocks(self) -> Iterator[RenderableType]:
        found = self.benchmark
        yield Text(f"{found.model} in {setting(found.latency)}\n")
        yield _table(found)
        yield Text()
        if found.peak_memory is not None:
            yield Text(_MEMORY[found.memory_of])
        if found.latency.simulated:
            yield Text(SIMULATED, style="yellow")


def setting(latency: LatencyComparison) -> str:
    """What was timed: onnxruntime 1.32.0 on cpu, 2 threads, a batch of 1."""
    return (
        f"{latency.runtime} {latency.version} on {latency.device}, "
        f"{counted(latency.threads, 'thread')}, a batch of {latency.batch}"
    )


def _table(found: Benchmark) -> Table:
    dense, compressed = found.latency.dense, found.latency.compressed
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    for heading in ("dense", "compressed", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    gain = speedup(dense.median, compressed.median)
    if found.latency.simulated:
        gain += " (simulated)"
    table.add_row("latency, median", short_time(dense.median), short_time(compressed.median), gain)
    table.add_row("middle half", _middle(dense), _middle(compressed), "")
    for row in beside_latency(found):
        table.add_row(*row)
    kinds = found.convolutions
    if kinds is not None:
        table.add_row("convolutions", _kinds(kinds.dense), _kinds(kinds.compressed), "")
    return table


def _middle(latency: Latency) -> str:
    return f"{short_time(latency.lower_quartile)} - {short_time(latency.upper_quartile)}"


def beside_latency(found: Benchmark) -> list[list[str]]:
    """Rows of what else was measured: dense, compressed, and how much smaller."""
    rates = found.throughput
    rows = [["throughput", _throughput(rates.dense), _throughput(rates.compressed), ""]]
    for name, size in (("file size", found.file_size), ("peak memory", found.peak_memory)):
        if size is not None:
            dense, compressed = quantity(size.dense, "B"), quantity(size.compressed, "B")
            rows.append([name, dense, compressed, ratio(size.dense, size.compressed)])
    return rows


def _throughput(samples: float) -> str:
    """Samples a second: 1,234 /s."""
    return f"{samples:,.0f} /s" if samples >= 100 else f"{samples:.3g} /s"


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or NOTHING
