"""A page as its reader has it, without a browser: sections, tables, marks."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "circle", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Tables are found by their captions; ``tips`` are what marks say when they are pointed at."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: dict[str, str] = {}
        self.tips: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self._within: list[str] = []
        self._section = self._heading = self._caption = ""
        self._row: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if "data-tip" in known:
            self.tips.append(
                (known.get("class") or tag, known["data-tip"] or known["aria-label"] or "")
            )
        if tag not in VOID:
            self._within.append(tag)
        if tag == "h2":
            self._heading = ""
        elif tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self._row = []
        elif tag in ("td", "th"):
            self._row.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._within.pop() == tag
        if tag == "h2":
            self._section = self._heading
            self.sections[self._section] = ""
        elif tag == "caption":
            self.tables[self._caption] = []
        elif tag == "tr":
            self.tables[self._caption].append(self._row)

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._within):
            return
        self.text += data
        if "h2" in self._within:
            self._heading += data
        elif "caption" in self._within:
            self._caption += data
        elif {"td", "th"} & set(self._within):
            self._row[-1] += data
        if self._section:
            self.sections[self._section] += data

    def table(self, caption: str) -> list[list[str]]:
        """Rows of the first table whose caption begins like this, the headings first."""
        return next(rows for name, rows in self.tables.items() if name.startswith(caption))

    def column(self, caption: str, heading: str) -> list[str]:
        """Of that table."""
        head, *rows = self.table(caption)
        return [row[head.index(heading)] for row in rows]
