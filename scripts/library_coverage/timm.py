"""The two smallest architectures of each of timm's families."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import timm
import torch

from library_coverage.candidate import Candidate, images, takes

_PER_FAMILY = 2
_SIDES = (64, 96, 128, 192)
"""Tried from the first on; then the published one."""


class Timm:
    """Of each module of ``timm.models``."""

    def names(self) -> Sequence[str]:
        return [name for family in timm.list_modules() for name in _smallest(family)]

    def candidate(self, name: str) -> Candidate:
        config = timm.get_pretrained_cfg(name)
        channels, published = config.input_size[0], max(config.input_size[1:])
        make = partial(_make, name)
        sides = [side for side in _SIDES if side < published]
        for side in (*sides, published):
            for arguments in ({}, {"img_size": side}):
                own = partial(make, **arguments)
                if takes(own, images(side, channels)):
                    larger = images(side + 32 if side < 128 else 2 * side, channels)
                    return Candidate(
                        own,
                        images(side, channels),
                        larger,
                        (make, images(published, channels, samples=1)),
                    )
        return Candidate(make, images(published, channels))


def _make(name: str, **arguments: Any) -> Any:
    return timm.create_model(name, pretrained=False, **arguments)


@cache
def _smallest(family: str) -> tuple[str, ...]:
    sizes = []
    for name in timm.list_models(module=family):
        try:
            with torch.device("meta"):
                model = timm.create_model(name)
        except Exception:  # noqa: BLE001, S112 - it can't be built so; others of the family can
            continue
        sizes.append((sum(parameter.numel() for parameter in model.parameters()), name))
    return tuple(name for _, name in sorted(sizes)[:_PER_FAMILY])
