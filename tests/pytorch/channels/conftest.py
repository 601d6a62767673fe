from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test's models are the same whatever ran before it."""
    torch.manual_seed(0)
