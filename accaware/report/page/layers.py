"""What each layer gave, and what stayed whole."""

from __future__ import annotations

from collections.abc import Sequence

from accaware.report.formatting import NOTHING, counted, percent, quantity
from accaware.report.page.section import Block, Folded, Paragraph, Section
from accaware.report.page.table import Bar, Cell, Table, columns
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import Size
from accaware.rundir.run_record import RunRecord


def layers(run: RunRecord) -> Section:
    """Filters, parameters and FLOPs by layer; quantizers; and what was left out."""
    model = None if run.result is None else run.result.model
    blocks: list[Block] = []
    if model is not None and model.layers:
        blocks.append(_layer_table(model.layers, model.quantizers))
    elif model is not None:
        blocks.append(Paragraph("An earlier accaware made this run, which didn't tell of layers."))
    else:
        blocks.append(Paragraph("Layers are told of once a model is handed over."))
    if model is not None and model.quantizers:
        table = _quantizer_table(model.quantizers)
        blocks.append(Folded(f"Quantized: {counted(len(model.quantizers), 'tensor')}", [table]))
    if run.left_out:
        blocks.append(
            Table(
                caption=f"Not compressed: {counted(len(run.left_out), 'layer')}",
                columns=columns("layer", "reason", texts=["reason"]),
                rows=[[Cell(layer), Cell(reason)] for layer, reason in run.left_out],
            )
        )
    return Section("Layers", blocks)


def _layer_table(found: Sequence[LayerSizes], quantizers: Sequence[QuantizerInfo]) -> Table:
    pruned = any(each.filters and each.filters.dense != each.filters.compressed for each in found)
    sparse = any(each.nonzero_parameters.compressed < each.parameters.compressed for each in found)
    bits = {each.place.removesuffix(".weight"): each.bits for each in quantizers}
    names = ["layer", "kind"]
    if pruned or not sparse:
        names += ["filters kept", "of all"]
    names += ["parameters", "before", "FLOPs", "before"]
    if sparse:
        names += ["zeros", "of its parameters"]
    if bits:
        names.append("bits of the weight")
    rows = []
    for at, each in enumerate(found):
        row = [Cell(each.name, at), Cell(each.kind)]
        if pruned or not sparse:
            row += _filters(each)
        row += [*_sizes(each.parameters), *_sizes(each.flops)]
        if sparse:
            row += _zeros(each)
        if bits:
            row.append(Cell(str(bits.get(each.name, NOTHING)), bits.get(each.name)))
        rows.append(row)
    return Table(
        caption="Layers in the order of the network",
        columns=columns(*names, texts=["kind", "of all", "of its parameters"]),
        rows=rows,
        sortable=True,
    )


def _filters(each: LayerSizes) -> list[Cell]:
    size = each.filters
    if size is None:
        return [Cell(NOTHING), Cell("")]
    text = f"{size.compressed} of {size.dense}"
    share = size.compressed / max(size.dense, 1)
    tip = f"{each.name}: {text} filters kept, {percent(share)}"
    return [Cell(text, size.compressed), Cell("", share, bar=Bar(share, tip))]


def _zeros(each: LayerSizes) -> list[Cell]:
    count = each.parameters.compressed
    zeros = count - each.nonzero_parameters.compressed
    share = zeros / max(count, 1)
    tip = f"{each.name}: {zeros} of {count} parameters are zero, {percent(share)}"
    return [Cell(percent(share), share), Cell("", share, bar=Bar(share, tip))]


def _sizes(size: Size) -> list[Cell]:
    return [
        Cell(quantity(size.compressed), size.compressed),
        Cell(quantity(size.dense), size.dense),
    ]


def _quantizer_table(quantizers: Sequence[QuantizerInfo]) -> Table:
    rows = [
        [
            Cell(each.place),
            Cell(str(each.bits), each.bits),
            Cell(each.mode),
            Cell(each.granularity),
            *(Cell(text) for text in _ends(each)),
        ]
        for each in quantizers
    ]
    return Table(
        caption="Quantizers",
        columns=columns(
            "tensor",
            "bits",
            "mode",
            "one range a",
            "from",
            "to",
            texts=["mode", "one range a"],
        ),
        rows=rows,
        sortable=True,
    )


def _ends(each: QuantizerInfo) -> Sequence[str]:
    return (NOTHING, NOTHING) if each.range is None else [f"{end:.4g}" for end in each.range]
