from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import accaware
from accaware.api.lifecycle.run_lifecycle import conduct
from accaware.cli.output import Output
from accaware.results import strict_json
from accaware.results.handed_over import HandedOver
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal
from accaware.rundir.result_file import result_document
from tests.cli.scripted_run import starting
from tests.report.page.reading import Page
from tests.runners.fake import adaptive, search

COARSE = adaptive(minimal_compression_rate_step=0.1, patience_epochs=2)

Shown = Callable[..., Page]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """``shown(metric, params, ...)``: the page of a run over a scripted model."""

    def shown(
        metric: Any,
        params: Any = COARSE,
        *,
        name: str = "top1",
        at: str = "run",
        **arguments: Any,
    ) -> Page:
        directory = RunDirectory.create(tmp_path / at)
        with suppress(KeyboardInterrupt, ZeroDivisionError):
            conduct(starting(metric, params, **arguments), directory, name, Output())
        return Page(accaware.write_report(directory.path))

    return shown


def write_run(path: Path, metric: Any, params: Any, model: HandedOver, **arguments: Any) -> None:
    """The files of a search that was run, and hands over such a model."""
    directory = RunDirectory.create(path)
    with Journal(directory.events) as journal:
        result = search(metric, params, observers=[journal], **arguments).run().result
    document = result_document(result, model, metric_name="top1", seconds=2.5)
    directory.result.write_text(strict_json.document(document))
