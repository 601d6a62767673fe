"""Attention of any number of dimensions, which torch's exporter to ONNX doesn't know."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.errors import RunError
from accaware.pytorch import export_model


class Attending(nn.Module):
    """(batch, 12, 8) tokens laid out in so many dimensions before they attend to each other.

    Args:
        leading: of the queries, behind the batch; heads are the last of them.
        mask: a shape that broadcasts over the scores.
    """

    def __init__(self, leading: tuple[int, ...], mask: tuple[int, ...] | None) -> None:
        super().__init__()
        self.leading = leading
        self.qkv = nn.Linear(8, 24)
        self.mask = None if mask is None else nn.Parameter(torch.randn(mask))

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(tokens).chunk(3, -1)
        query, key, value = (each.reshape(tokens.shape[0], *self.leading, -1, 4) for each in parts)
        attended = functional.scaled_dot_product_attention(query, key, value, self.mask)
        return attended.reshape(tokens.shape[0], -1)


@pytest.mark.parametrize(
    ("leading", "mask"),
    [
        ((), None),
        ((2,), (2, 12, 12)),
        ((3, 2), None),
        ((3, 2), (4, 4)),
        ((3, 2), (2, 4, 4)),
        ((2, 3, 2), (3, 1, 2, 2)),
    ],
)
def test_a_file_attends_as_the_model_does(
    leading: tuple[int, ...], mask: tuple[int, ...] | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    written = export_model(Attending(leading, mask), torch.randn(2, 12, 8), tmp_path / "m.onnx")
    assert written.dynamic_batch


class Unknown(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        values: Tensor = torch.linalg.eigvalsh(images)
        return values


def test_what_the_exporter_can_not_write_is_named_without_its_advice(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="can't be written as ONNX: ") as told:
        export_model(Unknown(), torch.randn(2, 3, 3), tmp_path / "m.onnx")
    assert "linalg" in str(told.value)
    assert "Next steps" not in str(told.value)
    assert "\x1b" not in str(told.value)
