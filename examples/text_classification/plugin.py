"""A transformer that tells texts apart: the hidden units of its feed-forward layers are pruned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, LENGTH, TOPICS = 60, 16, 4


class Classifier(nn.Module):
    """(N, LENGTH) numbers of words -> (N, TOPICS) logits; word 0 fills short texts up."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, hidden, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.topics = nn.Linear(width, TOPICS)

    def forward(self, text: Tensor) -> Tensor:
        places = torch.arange(text.shape[1], device=text.device)
        features = self.encoder(self.words(text) + self.places(places))
        told = (text > 0)[..., None]
        return self.topics((features * told).sum(1) / told.sum(1))


class Texts:
    """Made-up texts: each topic has words of its own among those of all.

    In their place put yours and their tokenizer's numbers; a model of transformers does as well.
    """

    def __init__(self, width: int = 32, hidden: int = 128, epochs: int = 4, texts: int = 900):
        self.sizes, self.epochs, self.texts = (width, hidden), epochs, texts

    def create_datasets(self):
        draw = torch.Generator().manual_seed(0)
        topics = torch.randint(TOPICS, (self.texts,), generator=draw)
        text = torch.randint(1, WORDS, (self.texts, LENGTH), generator=draw)
        own = 1 + 5 * topics[:, None] + torch.randint(5, text.shape, generator=draw)
        text = torch.where(torch.rand(text.shape, generator=draw) < 0.2, own, text)
        text[torch.rand(text.shape, generator=draw).sort().values > 0.9] = 0
        half = self.texts * 2 // 3
        return TensorDataset(text[:half], topics[:half]), TensorDataset(text[half:], topics[half:])

    def create_model(self):
        """Yours would be loaded: ``model.load_state_dict(torch.load("texts.pt"))``."""
        model = Classifier(*self.sizes)
        optimizer = torch.optim.Adam(model.parameters(), 0.003)
        train, _ = self.create_datasets()
        for _ in range(self.epochs):
            for text, topics in DataLoader(train, 32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(text), topics).backward()
                optimizer.step()
        return model
