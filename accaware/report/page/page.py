"""The door: runs to the text of one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

import accaware
from accaware.report.page.comparison import comparison
from accaware.report.page.deployment import deployment, sensitivity
from accaware.report.page.epochs import epochs
from accaware.report.page.layers import layers
from accaware.report.page.reproduce import reproduce
from accaware.report.page.section import Section
from accaware.report.page.trials import trials
from accaware.report.page.verdict import verdict
from accaware.results.comparison import Comparison
from accaware.rundir.run_record import RunRecord


@dataclass(frozen=True)
class _Part:
    """A run's sections, or those that compare several."""

    title: str
    state: str
    sections: Sequence[Section]


def page_of(run: RunRecord) -> str:
    """A report of a run: it needs no network, and what is in the run's files is never markup."""
    return _page(str(run.path), [_run_part(run)])


def page_of_several(runs: Sequence[RunRecord]) -> str:
    """A report that compares runs, and has each of theirs behind."""
    compared = Comparison([run.compared() for run in runs])
    title = f"{len(runs)} runs"
    return _page(title, [_Part(title, "", comparison(compared)), *map(_run_part, runs)])


def _run_part(run: RunRecord) -> _Part:
    sections = [
        verdict(run),
        trials(run),
        epochs(run),
        layers(run),
        sensitivity(run),
        deployment(run),
        reproduce(run),
    ]
    return _Part(str(run.path), run.status.state.value, [one for one in sections if one])


def _page(title: str, parts: Sequence[_Part]) -> str:
    template = _environment().get_template("page.html")
    return template.render(title=title, parts=parts, version=accaware.__version__)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("accaware.report.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
