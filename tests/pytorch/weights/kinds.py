"""One small network for each way in which a model may hold its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SEQUENCES = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(0, 12, (4, 2), generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    """An LSTM in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.lstm(x)[0][:, -1])
        return output


class Cells(nn.Module):
    """A GRU, and a cell that goes over a sequence by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.cell = nn.GRU(8, 8, batch_first=True), nn.LSTMCell(8, 8)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gru(x)[0]
        hidden = self.cell(x[:, 0])
        output: Tensor = self.last(self.cell(x[:, 1], hidden)[0])
        return output


class Attention(nn.Module):
    """Packed projections, and separate ones where keys have a size of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = nn.MultiheadAttention(8, 2, batch_first=True)
        self.apart = nn.MultiheadAttention(8, 2, batch_first=True, kdim=4, vdim=4)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.packed(x, x, x, need_weights=False)[0]
        x = self.apart(x, x[..., :4], x[..., 4:], need_weights=False)[0]
        output: Tensor = self.last(x.mean(1))
        return output


class Conv1D(nn.Module):
    """As transformers has it: a linear layer whose weight is (inputs, outputs)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.weight.shape[1])
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(shape)


class Experts(nn.Module):
    """All experts' matrices in one parameter, of which a router takes one for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(3, 16, 8) / 3)
        self.down = nn.Parameter(torch.randn(3, 16, 8) / 3)

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        hidden = torch.stack([nn.functional.linear(x, self.up[at]).relu() for at in range(3)], 1)
        outputs = torch.einsum("nesh,ehd->nesd", hidden, self.down)
        return (outputs * shares[..., None, None]).sum(1)


class Mixture(nn.Module):
    """A router over experts."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts, self.last = nn.Linear(8, 3), Experts(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.experts(x, self.router(x.mean(1)).softmax(-1))
        output: Tensor = self.last(x.mean(1))
        return output


class TwoConv1D(nn.Sequential):
    """An MLP of these."""

    def __init__(self) -> None:
        super().__init__(Conv1D(16, 8), nn.ReLU(), Conv1D(8, 16), nn.Flatten(), nn.Linear(16, 5))


class Functional(nn.Module):
    """A convolution and a product that the model calls with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(16, 8, 3) / 5)
        self.mix = nn.Parameter(torch.randn(16, 8) / 4)
        self.position = nn.Parameter(torch.randn(2, 8))
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv1d((x + self.position).transpose(1, 2), self.kernel, padding=1).relu()
        output: Tensor = self.last(x.mean(2) @ self.mix)
        return output


class Tied(nn.Module):
    """A language model whose embedding is its last layer's weight, and one of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(12, 8), nn.Embedding(2, 8)
        self.middle, self.head = nn.Linear(8, 8), nn.Linear(8, 12, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words) + self.positions(torch.arange(words.shape[1], device=words.device))
        output: Tensor = self.head(self.middle(x).relu())[:, -1]
        return output


class Everything(nn.Module):
    """All of these, one after the other, so that a file has each."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.conv1d, self.experts, self.router = Conv1D(8, 8), Experts(), nn.Linear(8, 3)
        self.mix = nn.Parameter(torch.randn(8, 8) / 3)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.lstm(self.words(words))[0]
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.experts(x, self.router(x.mean(1)).softmax(-1)) + x
        output: Tensor = self.head(self.conv1d(x.relu()).mean(1) @ self.mix)
        return output


@dataclass(frozen=True)
class Kind:
    """A network, an example of its inputs, and what its weights are.

    Attributes:
        sparse: those that are multiplied with, and the dimension of their inputs.
        unquantized: those of them that stay in floating point.
        embeddings: those that are covered where the config asks for it.
        others: parameters with two dimensions that are no such weights.
    """

    make: Callable[[], nn.Module]
    inputs: Tensor
    sparse: dict[str, int]
    unquantized: frozenset[str] = frozenset()
    embeddings: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def model(self) -> nn.Module:
        """The same one each time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.make()


LSTM = [f"lstm.weight_{part}_l0{way}" for way in ("", "_reverse") for part in ("ih", "hh")]
CELLS = ["gru.weight_ih_l0", "gru.weight_hh_l0", "cell.weight_ih", "cell.weight_hh"]
APART = [f"apart.{part}_proj_weight" for part in "qkv"]
OUT = ["packed.out_proj.weight", "apart.out_proj.weight"]

KINDS = {
    "lstm": Kind(Recurrent, SEQUENCES, dict.fromkeys([*LSTM, "last.weight"], 1), frozenset(LSTM)),
    "cells": Kind(Cells, SEQUENCES, dict.fromkeys([*CELLS, "last.weight"], 1), frozenset(CELLS)),
    "attention": Kind(
        Attention,
        SEQUENCES,
        dict.fromkeys(["packed.in_proj_weight", *APART, *OUT, "last.weight"], 1),
        frozenset(OUT),
    ),
    "Conv1D": Kind(TwoConv1D, SEQUENCES, {"0.weight": 0, "2.weight": 0, "4.weight": 1}),
    "experts": Kind(
        Mixture,
        SEQUENCES,
        {"router.weight": 1, "experts.up": 2, "experts.down": 1, "last.weight": 1},
    ),
    "functional": Kind(
        Functional,
        SEQUENCES,
        {"kernel": 1, "mix": 0, "last.weight": 1},
        others=frozenset({"position"}),
    ),
    "tied": Kind(
        Tied,
        WORDS,
        {"middle.weight": 1, "head.weight": 1},
        embeddings=frozenset({"positions.weight"}),
    ),
    "everything": Kind(
        Everything,
        WORDS,
        {
            **dict.fromkeys(LSTM[:2], 1),
            "attention.in_proj_weight": 1,
            "attention.out_proj.weight": 1,
            "conv1d.weight": 0,
            "experts.up": 2,
            "experts.down": 1,
            "router.weight": 1,
            "mix": 0,
            "head.weight": 1,
        },
        frozenset({*LSTM[:2], "attention.out_proj.weight"}),
    ),
}
