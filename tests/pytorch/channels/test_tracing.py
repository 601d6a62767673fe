"""Whatever a network is made of: what is traced needs no sifting, and compact is masked."""

from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.channels.tracing.weights.parameters import Parameters
from accaware.pytorch.channels.verification import verify_groups
from accaware.pytorch.model.inputs import ExampleInputs
from tests.pytorch.channels.masked import Masked, assert_near, dense_state
from tests.pytorch.channels.odd_models import conv, head
from tests.pytorch.channels.zoo import prune


class Block(nn.Module):
    """One step from some channels to others; ``channels`` says how many there are then."""

    channels: int


class Convolution(Block):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = 8
        self.conv, self.norm = conv(channels, 8), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(x)).relu()
        return result


class Grouped(Block):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = 2 * channels
        self.conv = conv(channels, 2 * channels, groups=channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x).relu()
        return result


class Residual(Block):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = (x + self.conv(x)).relu()
        return result


class Concatenation(Residual):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.channels = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x).relu()], 1)


class Shuffle(Residual):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Halves(Block):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = conv(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.cat([first, self.conv(second).relu()], 1)


class Excitation(Block):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.squeeze, self.excite = nn.Linear(channels, 4), nn.Linear(4, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return x * scale.unflatten(1, (-1, 1, 1))


class Tokens(Block):
    """A linear layer on rows of pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = 8
        self.linear, self.scale = nn.Linear(channels, 8), nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x.flatten(2).transpose(1, 2)) * self.scale
        result: Tensor = y.transpose(1, 2).unflatten(2, x.shape[2:]).relu()
        return result


class Normed(Block):
    """Two groups of channels, each normalised as a whole, then each channel by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = nn.Sequential(nn.GroupNorm(2, channels), nn.InstanceNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(functional.pad(x, (1, 0))[..., 1:]).relu()
        return result


BLOCKS = (
    Convolution, Grouped, Residual, Concatenation, Shuffle, Halves, Excitation, Tokens, Normed,
)  # fmt: skip


@settings(max_examples=20)
@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5), st.floats(0.1, 0.9))
def test_nothing_that_was_followed_is_wrong(kinds: list[type[Block]], rate: float) -> None:
    torch.manual_seed(0)
    blocks: list[nn.Module] = [Convolution(3)]
    for kind in kinds:
        blocks.append(kind(blocks[-1].channels))
    model = nn.Sequential(*blocks, Convolution(blocks[-1].channels), head(8)).double().eval()
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    inputs = ExampleInputs.of(images)
    found = find_dependencies(model, inputs)
    groups, faulty = verify_groups(model, found.groups, found.reached, inputs)
    assert not faulty
    assert groups == found.groups

    dense = copy.deepcopy(model)
    pruning = prune(model, images)
    pruning.set_rate(rate, [])
    masked = Masked(dense, dense_state(model, pruning.dense_tensors()), pruning.kept_masks())
    with torch.no_grad():
        assert_near(model.eval()(images), masked.model.eval()(images), 1e-10, str(kinds))


def test_a_buffer_that_the_forward_replaced_lends_its_name_to_nobody() -> None:
    """What is made next may get its identity, as objects that are gone leave theirs."""
    model = nn.Module()
    for number in range(50):
        model.register_buffer(f"grid{number}", torch.zeros(1, 3))
    identities = {id(buffer) for buffer in model.buffers()}
    known = Parameters(model)
    model._buffers.clear()
    made = [torch.zeros(1, 3) for _ in range(50)]
    alike = [tensor for tensor in made if id(tensor) in identities]
    assert alike
    assert not any(tensor in known or known.names(tensor) for tensor in alike)
