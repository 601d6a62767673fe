"""The page in a real browser: Debian's chromium, headless, driven by playwright.

``REPORT_OF=RUN_DIR pytest tests/report/page/test_browser.py`` makes the pictures in docs/images of
that run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import accaware
from accaware.results.handed_over import HandedOver
from tests.report.page.conftest import COARSE, write_run
from tests.report.page.test_run import LAYERS
from tests.rundir.test_result_document import EXPORTS, LATENCY, QUANTIZERS, SIZES
from tests.runners.fake import holds_up_to

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright for the page's tests")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium for the page's tests")

PICTURES = Path(__file__).parents[3] / "docs" / "images"
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 400, "height": 800}


class Shown:
    """A page in a tab of its own, and all that it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.tab = browser.new_page(**options)
        self.tab.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())

    def of(self, script: str) -> Any:
        return self.tab.evaluate(script)

    def close(self) -> None:
        self.tab.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Containers run as root, where chromium has no sandbox.
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of one run, and of two."""
    folder = tmp_path_factory.mktemp("runs")
    model = HandedOver(
        sizes=SIZES, layers=LAYERS, quantizers=QUANTIZERS, latency=LATENCY, exports=EXPORTS
    )
    write_run(folder / "one", holds_up_to(0.65), COARSE, model, loss=lambda rate, age: rate)
    write_run(folder / "two", lambda rate, age: 1 - rate / 10, COARSE, HandedOver(sizes=SIZES))
    both = accaware.write_report(folder / "one", folder / "two", output=folder / "both.html")
    return accaware.write_report(folder / "one"), both


@pytest.mark.parametrize(
    ("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide, light", "narrow, dark"]
)
def test_both_pages_draw_and_ask_for_nothing(
    browser: Any, pages: tuple[Path, Path], size: Any, scheme: Any
) -> None:
    for path in pages:
        shown = Shown(browser, path, viewport=size, color_scheme=scheme)
        assert shown.of("document.documentElement.scrollWidth") <= size["width"]
        plots = shown.of(
            """[...document.querySelectorAll('.plot > svg')]
            .filter(plot => plot.checkVisibility()).map(plot => {
              const area = plot.getBoundingClientRect()
              const marks = [...plot.querySelectorAll('circle')]
              return {
                size: [area.width, area.height], left: area.left, right: area.right,
                marks: marks.map(mark => mark.getBoundingClientRect()).map(box =>
                  [box.width, (box.left + box.right) / 2, (box.top + box.bottom) / 2]),
                inside: marks.every(mark => {
                  const box = mark.getBoundingClientRect(), slack = box.width / 2 + 1
                  return box.left >= area.left - slack && box.right <= area.right + slack
                    && box.top >= area.top - slack && box.bottom <= area.bottom + slack
                }),
                letters: [...plot.querySelectorAll('text')].map(text =>
                  parseFloat(getComputedStyle(text).fontSize)),
                texts: [...plot.querySelectorAll('text')].map(text =>
                  text.getBoundingClientRect()).every(box =>
                    box.left >= 0 && box.right <= innerWidth),
              }
            })"""
        )
        assert len(plots) >= 3
        for plot in plots:
            assert plot["marks"]
            assert min(plot["size"]) > 100
            assert plot["inside"]
            assert plot["texts"]
            assert min(plot["letters"]) >= 12
            assert min(width for width, *_ in plot["marks"]) >= 6
        background, ink = shown.of(
            "(body => [body.backgroundColor, body.color])(getComputedStyle(document.body))"
        )
        assert contrast(background, ink) > 7
        assert (luminance(background) > 0.5) is (scheme == "light")
        assert shown.complaints == []
        assert shown.requests == [path.as_uri()]
        shown.close()


def test_marks_stand_where_their_numbers_are(browser: Any, pages: tuple[Path, Path]) -> None:
    shown = Shown(browser, pages[0], viewport=WIDE)
    area, *trials = shown.of(
        """[document.querySelector('.plot > svg'), ...document.querySelectorAll('.plot circle')]
        .slice(0, 4).map(mark => mark.getBoundingClientRect())
        .map(box =>
          [(box.left + box.right) / 2, (box.top + box.bottom) / 2, box.left, box.width])"""
    )
    rates = [(across - area[2]) / area[3] for across, *_ in trials]
    assert rates == pytest.approx([0.5, 0.6, 0.7], abs=0.01)
    # The first two lost nothing, the third everything: further down.
    assert trials[0][1] == pytest.approx(trials[1][1], abs=1)
    assert trials[2][1] > trials[0][1] + 50
    shown.close()


def test_a_mark_says_its_trial_when_it_is_pointed_at(
    browser: Any, pages: tuple[Path, Path]
) -> None:
    shown = Shown(browser, pages[0], viewport=NARROW)
    tip, marks = shown.tab.locator("#tip"), shown.tab.locator(".plot circle")
    assert tip.is_hidden()
    marks.nth(1).hover()
    assert tip.is_visible()
    assert tip.inner_text().startswith("trial 1 (search): rate 60.0 %, top1 1.0000")
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= NARROW["width"]
    shown.tab.locator("h1").hover()
    assert tip.is_hidden()
    marks.nth(2).focus()  # by the keyboard
    assert tip.inner_text().startswith("trial 2 (search)")
    shown.tab.locator(".bar").first.hover()
    assert tip.inner_text() == "conv: 16 of 64 filters kept, 25.0 %"
    assert shown.complaints == []
    shown.close()


def test_a_table_sorts_by_its_headings(browser: Any, pages: tuple[Path, Path]) -> None:
    shown = Shown(browser, pages[0], viewport=WIDE)
    table = shown.tab.locator("table.sortable").first

    def rates() -> list[str]:
        texts: list[str] = table.locator("tbody td:nth-child(4)").all_inner_texts()
        return texts

    heading = table.get_by_role("button", name="rate", exact=True)
    heading.click()
    assert rates() == ["50.0 %", "60.0 %", "70.0 %"]
    heading.click()
    assert rates() == ["70.0 %", "60.0 %", "50.0 %"]
    assert table.locator("th[aria-sort=descending]").inner_text() == "rate"
    shown.close()


def test_lines_are_copied_and_all_of_it_prints(browser: Any, pages: tuple[Path, Path]) -> None:
    shown = Shown(browser, pages[0], viewport=WIDE)
    button = shown.tab.locator(".copy").first
    button.click()
    shown.tab.wait_for_function(
        "/copied|selected/.test(document.querySelector('.copy').textContent)"
    )
    assert shown.tab.pdf().startswith(b"%PDF")
    assert shown.of("[...document.querySelectorAll('details')].every(folded => folded.open)")
    shown.tab.emulate_media(media="print", color_scheme="dark")
    assert luminance(shown.of("getComputedStyle(document.body).color")) < 0.1
    assert button.is_hidden()
    assert shown.complaints == []
    shown.close()


@pytest.mark.skipif("REPORT_OF" not in os.environ, reason="pictures are made when asked for")
def test_pictures_for_the_docs(browser: Any, tmp_path: Path) -> None:
    page = accaware.write_report(os.environ["REPORT_OF"], output=tmp_path / "report.html")
    PICTURES.mkdir(exist_ok=True)
    for name, size, scheme in (("report", WIDE, "light"), ("report-narrow", NARROW, "dark")):
        shown = Shown(browser, page, viewport=size, color_scheme=scheme)
        clip = {"x": 0, "y": 0, "width": size["width"], "height": 1500}
        shown.tab.screenshot(path=PICTURES / f"{name}.png", full_page=True, clip=clip)
        assert (PICTURES / f"{name}.png").stat().st_size < 300_000
        shown.close()


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of ``rgb(1, 2, 3)``."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Of two colours (WCAG 2.2), from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
