"""Embeddings lose width where nothing normalises what is looked up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.pytorch.channels.test_odd_models import check, pruned, reasons
from tests.pytorch.channels.zoo import prune

WORDS, WIDTH = 20, 8


def words() -> Tensor:
    return torch.randint(WORDS, (4, 6))


class Text(nn.Module):
    """Words and their positions, added, and a linear or convolutional reader.

    Args:
        between: what is done to the words' vectors.
    """

    def __init__(self, between: nn.Module, words: nn.Module | None = None) -> None:
        super().__init__()
        self.words = words or nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.places = nn.Embedding(6, WIDTH)
        self.between = between
        self.conv, self.last = nn.Conv1d(WIDTH, 5, 3), nn.Linear(5, 2)

    def forward(self, words: Tensor) -> Tensor:
        found = self.words(words) + self.places(torch.arange(6, device=words.device))
        steps = self.conv(self.between(found).transpose(1, 2)).relu()
        result: Tensor = self.last(steps.mean(2))
        return result


def test_what_is_added_goes_together() -> None:
    model = Text(nn.Sigmoid())
    pruning = check(model, words(), unread=True)
    assert [group.producers for group in pruning.groups] == [("words", "places"), ("conv",)]
    pruning.set_rate(1.0, [])
    assert model.words.embedding_dim == model.places.embedding_dim == 1
    pruning.set_rate(0.0, [])
    assert model.words.embedding_dim == WIDTH


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode: str) -> None:
    model = nn.Sequential(
        nn.EmbeddingBag(WORDS, WIDTH, mode=mode), nn.Linear(WIDTH, 5), nn.ReLU(), nn.Linear(5, 2)
    )
    pruning = check(model, words(), unread=True)
    assert pruned(pruning) == {"0", "1"}
    pruning.set_rate(1.0, [])
    assert model[0].embedding_dim == 1


def test_norms_are_the_reason_why_it_stays() -> None:
    normalised = reasons(prune(Text(nn.LayerNorm(WIDTH)).double(), words()))
    assert normalised["words"] == normalised["places"]
    assert "between (LayerNorm) normalises" in normalised["words"]
    renormalised = Text(nn.Identity(), nn.Embedding(WORDS, WIDTH, max_norm=100.0))
    assert "max_norm" in reasons(prune(renormalised.double(), words()))["words"]
