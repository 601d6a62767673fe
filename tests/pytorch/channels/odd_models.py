"""Small networks that a dependency graph, or a sloppy removal, gets wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, **more: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)  # type: ignore[arg-type]


class Graph(nn.Module):
    """Layers by name, and a forward that is given them."""

    def __init__(self, forward: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._forward = forward

    def forward(self, x: Tensor) -> object:
        return self._forward(self, x)


def head(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


def plain(*between: nn.Module, width: int = 12) -> nn.Module:
    """conv, whatever comes between, conv, head: the first conv is ``0``."""
    return nn.Sequential(
        conv(3, width), *between, conv(width, 8), nn.ReLU(), nn.BatchNorm2d(8), head(8)
    )


def hard_coded_reshape() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x).reshape(len(x), 12, -1).sum(2)
        return m.last(y)

    return Graph(forward, first=conv(3, 12), last=nn.Linear(12, 3))


def counts_on_fours() -> nn.Module:
    """Half of its channels could go, and a quarter, but not any number of them."""

    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x)
        if y.shape[1] % 4:
            raise ValueError(f"{y.shape[1]} channels don't make fours")
        return m.head(m.second(y).relu())

    return Graph(forward, first=conv(3, 16), second=conv(16, 8), head=head(8))


def channel_shuffle() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.head(m.second(y).relu())

    return Graph(forward, first=conv(3, 12), second=conv(12, 8), head=head(8))


def shared_weight() -> nn.Module:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(),
        nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3),
    )  # fmt: skip
    model[5].weight = model[3].weight
    return model


def reused_layer() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x).relu()
        return m.head(m.again(m.again(y).relu()).relu())

    return Graph(forward, first=conv(3, 12), again=conv(12, 12), head=head(12))


def depthwise() -> nn.Module:
    return nn.Sequential(
        conv(3, 4), nn.BatchNorm2d(4), nn.ReLU6(), conv(4, 4, groups=4), nn.BatchNorm2d(4),
        nn.ReLU6(), nn.Conv2d(4, 6, 1), head(6),
    )  # fmt: skip


def concat_then_add() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        both = torch.cat([m.left(x).relu(), m.right(x).relu()], 1)
        return m.head((both + m.whole(x)).relu())

    return Graph(forward, left=conv(3, 4), right=conv(3, 8), whole=conv(3, 12), head=head(12))


def twice_in_a_concat() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.head(torch.cat([y, y], 1) + m.second(x))

    return Graph(forward, first=conv(3, 4), second=conv(3, 8), head=head(8))


def chunked() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        a, b = m.first(x).chunk(2, dim=1)
        return m.head(a.relu() * b.sigmoid())

    return Graph(forward, first=conv(3, 12), head=head(6))


def split_unevenly() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        a, b = m.first(x).split([4, 8], dim=1)
        return m.left(a.relu()) + m.right(b.relu())

    return Graph(forward, first=conv(3, 12), left=head(4), right=head(8))


def returns_features() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> dict[str, Tensor]:
        features = m.first(x).relu()
        return {"features": features, "scores": m.head(m.second(features).relu())}

    return Graph(forward, first=conv(3, 12), second=conv(12, 8), head=head(8))


def single_precision_only() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        return m.head(m.second(m.first(x.float()).relu()).relu())

    return Graph(forward, first=conv(3, 12), second=conv(12, 8), head=head(8))


def reads_values() -> nn.Module:
    """What fails on the meta device."""

    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x).relu()
        if float(y.detach().sum()) < 0:
            y = -y
        return m.head(m.second(y).relu())

    return Graph(forward, first=conv(3, 12), second=conv(12, 8), head=head(8))


def functional_dropout() -> nn.Module:
    """Dropout in a container's own forward is on wherever the container trains."""

    def forward(m: Graph, x: Tensor) -> Tensor:
        y = functional.dropout2d(m.first(x).relu(), training=m.training)
        return m.head(m.second(y).relu())

    return Graph(forward, first=conv(3, 12), second=conv(12, 8), head=head(8))


def scaled_by_hand() -> nn.Module:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = conv(3, 12), conv(12, 8), head(8)
            self.scale = nn.Parameter(torch.zeros(12, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(self.second(self.first(x) * self.scale).relu())
            return result

    return Scaled()


def zero_scaled_branch_with_sigmoid() -> nn.Module:
    """A scale that starts at zero hides at first what the sigmoid makes."""

    def forward(m: Graph, x: Tensor) -> Tensor:
        branch = m.norm(m.second(m.first(x).sigmoid()))
        return m.head(m.skip(x) + branch)

    norm = nn.BatchNorm2d(8)
    nn.init.zeros_(norm.weight)
    return Graph(
        forward, first=conv(3, 12), second=conv(12, 8), norm=norm, skip=conv(3, 8), head=head(8)
    )


def frozen() -> nn.Module:
    model = plain(nn.BatchNorm2d(12), nn.ReLU())
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    return model


def one_dimensional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 12, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def three_dimensional() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(3, 8, 2), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 6, 2), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(
        conv(3, 12), nn.BatchNorm2d(12), nn.ReLU(), nn.ConvTranspose2d(12, 8, 2, stride=2),
        nn.BatchNorm2d(8), nn.ReLU(), conv(8, 3),
    )  # fmt: skip


def embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(20, 12), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))


def flattened() -> nn.Module:
    return nn.Sequential(
        conv(3, 6), nn.ReLU(), conv(6, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 64, 10), nn.ReLU(), nn.Linear(10, 3),
    )  # fmt: skip


def gated_by_one_channel() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x).relu()
        return m.head(m.second(y * m.gate(y).sigmoid()).relu())

    return Graph(forward, first=conv(3, 12), gate=conv(12, 1), second=conv(12, 8), head=head(8))


def squeezed_and_excited() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x).relu()
        scale = m.excite(m.squeeze(y.mean((2, 3))).relu()).sigmoid()
        return m.head(m.second(y * scale[:, :, None, None]).relu())

    return Graph(
        forward, first=conv(3, 12), squeeze=nn.Linear(12, 4), excite=nn.Linear(4, 12),
        second=conv(12, 8), head=head(8),
    )  # fmt: skip


def tokens_with_positions() -> nn.Module:
    """Patches in a row behind a class token, each with a position of its own."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 12, 4, stride=4)
            self.token = nn.Parameter(torch.randn(1, 1, 12))
            self.positions = nn.Parameter(torch.randn(1, 5, 12))
            self.hidden, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
            result: Tensor = self.last(self.hidden(tokens + self.positions).relu().mean(1))
            return result

    return Tokens()


def windows() -> nn.Module:
    """Cut into windows, mixed within each, rolled and put together again."""

    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.first(x).relu().permute(0, 2, 3, 1)
        n, h, w, c = y.shape
        y = y.roll((1, 1), (1, 2)).view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5)
        y = m.mix(y.reshape(-1, 16, c)).relu()
        return m.head(y.reshape(n, -1, y.shape[-1]).transpose(1, 2)[..., None])

    return Graph(forward, first=conv(3, 12), mix=nn.Linear(12, 8), head=head(8))


def tied_to_its_embedding() -> nn.Module:
    model = nn.Sequential(
        nn.Embedding(20, 12), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 12),
        nn.Linear(12, 20, bias=False),
    )  # fmt: skip
    model[4].weight = model[0].weight
    return model


def weight_made_by_hand() -> nn.Module:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = functional.conv2d(x, m.first.weight * 2, m.first.bias, padding=1).relu()
        return m.head(m.third(m.second(y).relu()).relu())

    return Graph(forward, first=conv(3, 12), second=conv(12, 8), third=conv(8, 8), head=head(8))
