"""What is wrong with a config, as lines that editors can jump to."""

from __future__ import annotations

from collections.abc import Iterable

from accaware.errors import Diagnostic


def diagnostic_line(diagnostic: Diagnostic) -> str:
    """``file:line:column: path: message``, with "warning" before the path of a warning."""
    place = ":".join(
        str(part) for part in (diagnostic.file, diagnostic.line, diagnostic.column) if part
    )
    severity = "" if diagnostic.severity == "error" else diagnostic.severity
    parts = (place, severity, diagnostic.path, diagnostic.message)
    return ": ".join(part for part in parts if part)


def diagnostics_text(diagnostics: Iterable[Diagnostic]) -> str:
    return "\n".join(diagnostic_line(diagnostic) for diagnostic in diagnostics)
