"""How the model does outside of training: exported files, a benchmark, sensitivity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accaware.report.benchmark import SIMULATED, beside_latency, setting
from accaware.report.formatting import (
    NOTHING,
    percent,
    quantity,
    short_time,
    speedup,
)
from accaware.report.page.section import Block, Paragraph, Section
from accaware.report.page.table import Cell, Table, columns
from accaware.results.benchmark import Benchmark
from accaware.results.exports import ExportInfo
from accaware.results.inspection import Inspection
from accaware.results.latency import LatencyComparison
from accaware.rundir.run_record import RunRecord


def deployment(run: RunRecord) -> Section | None:
    """None where nothing of it is known."""
    model = None if run.result is None else run.result.model
    blocks: list[Block] = []
    if model is not None and model.exports:
        blocks += _exports(model.exports)
    if run.benchmark is not None:
        blocks += _benchmark(run.benchmark)
    elif model is not None and model.latency is not None:
        blocks += _latency(model.latency)
    return Section("Deployment", blocks) if blocks else None


def sensitivity(run: RunRecord) -> Section | None:
    """How much the metric depends on each part; None where that wasn't measured."""
    inspection = run.inspection
    if inspection is None or inspection.sensitivity is None:
        return None
    return Section("Sensitivity", list(_sensitivity(run, inspection)))


def _exports(exports: Sequence[ExportInfo]) -> Iterator[Block]:
    rows = [
        [
            Cell(each.format if each.opset is None else f"{each.format}, opset {each.opset}"),
            Cell(quantity(each.file_size, "B"), each.file_size),
            Cell("any" if each.dynamic_batch else "fixed"),
            Cell(NOTHING if each.metric is None else f"{each.metric:.6g}", each.metric),
            Cell(f"{each.model_metric:.6g}", each.model_metric),
            Cell(NOTHING if each.same_top1 is None else percent(each.same_top1), each.same_top1),
            Cell(f"{each.largest_difference:.2g}", each.largest_difference),
            Cell(each.file),
        ]
        for each in exports
    ]
    yield Table(
        caption="Exported files, each run on the validation data",
        columns=columns(
            "format",
            "size",
            "batch",
            "metric",
            "of the model",
            "same top-1",
            "outputs differ by",
            "file",
            texts=["batch", "file"],
        ),
        rows=rows,
    )
    for each in exports:
        if each.fixed_batch is not None:
            yield Paragraph(f"{each.format}: the batch is fixed: {each.fixed_batch}")


def _latency(latency: LatencyComparison) -> Iterator[Block]:
    dense, compressed = latency.dense, latency.compressed
    gain = speedup(dense.median, compressed.median)
    rows = [
        ["latency, median", short_time(dense.median), short_time(compressed.median), gain],
        [
            "middle half",
            f"{short_time(dense.lower_quartile)} - {short_time(dense.upper_quartile)}",
            f"{short_time(compressed.lower_quartile)} - {short_time(compressed.upper_quartile)}",
            "",
        ],
    ]
    yield _against_dense(f"Timed in {setting(latency)}", rows)
    if latency.simulated:
        yield Paragraph(SIMULATED, "warned")


def _benchmark(found: Benchmark) -> Iterator[Block]:
    yield from _latency(found.latency)
    yield _against_dense("The same benchmark's other numbers", beside_latency(found))


def _against_dense(caption: str, rows: Sequence[Sequence[str]]) -> Table:
    return Table(
        caption=caption,
        columns=columns("", "dense", "compressed", "note", texts=["note"]),
        rows=[[Cell(text) for text in row] for row in rows],
    )


def _sensitivity(run: RunRecord, inspection: Inspection) -> Iterator[Block]:
    found = inspection.sensitivity
    assert found is not None
    yield Paragraph(
        f"{run.metric_name} with a share of one part alone removed and nothing trained, on "
        f"{found.samples} validation samples; the dense model has {found.baseline:.4g} there."
    )
    names = {part.number: part.name for part in inspection.parts}
    rows = [
        [
            Cell(names.get(each.part, str(each.part)), each.part),
            *(
                Cell(NOTHING if metric is None else f"{metric:.4g}", metric)
                for metric in each.metrics
            ),
        ]
        for each in found.parts
    ]
    yield Table(
        caption="Sensitivity by part",
        columns=columns("part", *(f"{percent(share)} removed" for share in found.shares)),
        rows=rows,
        sortable=True,
    )
