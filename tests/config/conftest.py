from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accaware.config.load import examine_file
from accaware.errors import Diagnostic

Check = Callable[..., list[Diagnostic]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Writes a text, bytes or data as a file and gives its diagnostics of one severity."""

    def run(
        content: Any, *overrides: str, warnings: bool = False, severity: str = "error"
    ) -> list[Diagnostic]:
        file = tmp_path / "config.json"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, indent=1)
            file.write_bytes(text.encode())
        wanted = "warning" if warnings else severity
        return [one for one in examine_file(file, overrides).diagnostics if one.severity == wanted]

    return run
