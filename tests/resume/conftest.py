from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quickly_timed(no_inference_runtimes: None) -> None:
    """Runs end without an export."""
