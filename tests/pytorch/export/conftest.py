"""Many models are exported here."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def quickly_exported(operators_read_once: None) -> None:
    """Torch's exporter starts once."""
