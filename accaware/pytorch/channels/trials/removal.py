"""Which channels a group loses in a trial."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

import torch
from torch import Tensor

from accaware.pytorch.channels.layout import ChannelGroup

_CHOICES = 16


def removal(group: ChannelGroup, choice: int = 0) -> Tensor:
    """About half of a group's channels at random, the same at each call; no layer loses its last.

    Each group has a half of its own: groups of one size that are tied without being known to be
    would hide that by losing the same channels. The number that stays has no divisor in common
    with the group's size, so that a forward that counts on one fails.

    Args:
        choice: another one gives another half.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(group.name.encode()) + choice)
    order = torch.randperm(group.size, generator=generator)
    removable = order[~torch.isin(order, group.indispensable(order))]
    count = min(len(removable), group.size // 2)
    while count > 1 and math.gcd(group.size - count, group.size) > 1:
        count -= 1
    return removable[:count]


def removal_with(group: ChannelGroup, effects: Iterable[Tensor]) -> Tensor:
    """A half with channels that matter, if there is one: a small group may have dead ones.

    Args:
        effects: of (C,) each, how much each channel matters, in one way of running and another.
    """
    live = [each > 0 for each in effects if (each > 0).any()]
    for choice in range(_CHOICES):
        gone = removal(group, choice)
        if all(each[gone].any() for each in live):
            return gone
    return removal(group)
