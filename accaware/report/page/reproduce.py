"""What the run was made with, and lines to copy: to use its model, and to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from accaware.report.page.section import Block, Code, Folded, Section
from accaware.report.page.table import Cell, Table, columns
from accaware.results import strict_json
from accaware.rundir.manifest import Manifest
from accaware.rundir.run_record import RunRecord


def reproduce(run: RunRecord) -> Section:
    """Commands, versions and the config."""
    return Section("Use it and make it again", list(_blocks(run)))


def _blocks(run: RunRecord) -> Iterator[Block]:
    path = shlex.quote(str(run.path))
    if run.result is not None and run.result.model is not None:
        yield Code(
            "Load the model; create_model is the plugin's",
            "from accaware.pytorch import load_compressed\n\n"
            f"model = load_compressed({str(run.path / 'best' / 'model.pt')!r}, create_model())",
        )
        yield Code("Export it", f"accaware export {path} --format onnx")
        yield Code("Time it", f"accaware benchmark {path} --json > {path}/benchmark.json")
    if run.status.can_resume:
        yield Code("Go on with the run", f"accaware run --resume {path}")
    if run.config is not None:
        yield Code("Make the run again", f"accaware run {path}/config.json")
    if run.manifest is not None:
        yield _versions(run, run.manifest)
    if run.config is not None:
        config = strict_json.document(run.config).rstrip()
        yield Folded("The config, with all defaults", [Code("config.json", config)])


def _versions(run: RunRecord, manifest: Manifest) -> Table:
    rows = [
        ["run directory", str(run.path)],
        ["began", run.began or ""],
        ["last heard of", run.last or ""],
        *([name, version] for name, version in manifest.versions.items()),
        ["device", manifest.device],
        ["hardware", manifest.hardware or ""],
        ["seed", str(manifest.seed)],
        ["plugin", manifest.plugin],
        ["plugin's source (SHA-256)", manifest.plugin_digest or ""],
        ["plugin's commit", manifest.plugin_commit or ""],
    ]
    return Table(
        caption="Made with",
        columns=columns("what", "which", texts=["which"]),
        rows=[[Cell(what), Cell(which)] for what, which in rows if which],
    )
