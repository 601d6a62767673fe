"""Generators go on where they were, as far as their devices are there."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from accaware.pytorch.data.random_state import RandomState, placed

CPU = torch.device("cpu")


def test_all_generators_of_this_machine_go_on() -> None:
    state = RandomState((), CPU).state_dict()

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first = drawn()
    told: list[str] = []
    RandomState((), CPU, told.append).load_state_dict(state)
    assert drawn() == first
    assert told == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"cuda": 1, "device": "cuda"},
            "of cuda:0 don't go on where they were: that device is not",
        ),
        (
            {"cuda": 2, "device": "cuda:1"},
            "of cuda:0, cuda:1 don't go on where they were: those dev",
        ),
        (
            {"mps": 1, "device": "mps"},
            "of mps don't go on where they were: that device is not here",
        ),
    ],
)
def test_what_has_no_device_here_is_told(more: dict[str, Any], message: str) -> None:
    state = {**RandomState((), CPU).state_dict(), "device": more["device"]}
    state["cuda"] = [torch.get_rng_state()] * more.get("cuda", 0)
    state["mps"] = torch.get_rng_state() if "mps" in more else None
    first = torch.rand(3)
    told: list[str] = []
    RandomState((), CPU, told.append).load_state_dict(state)
    assert torch.equal(torch.rand(3), first)
    (only,) = told
    assert message in only


def test_a_state_of_an_earlier_version_knows_no_device() -> None:
    state = RandomState((), CPU).state_dict()
    del state["device"]
    told: list[str] = []
    RandomState((), CPU, told.append).load_state_dict(state)
    assert told == []


@pytest.mark.parametrize(
    ("states", "before", "now", "devices", "places", "lost"),
    [
        (2, "cuda:0", "cuda:0", 2, {0: 0, 1: 1}, []),
        (2, "cuda", "cuda", 4, {0: 0, 1: 1}, []),
        (4, "cuda:0", "cuda:0", 2, {0: 0, 1: 1}, ["cuda:2", "cuda:3"]),
        (4, "cuda:3", "cuda:0", 1, {0: 3}, ["cuda:0", "cuda:1", "cuda:2"]),
        (2, "cuda:1", "cuda", 1, {0: 1}, ["cuda:0"]),
        (1, "cuda:0", "cuda:1", 2, {0: 0, 1: 0}, []),
        (0, "cpu", "cuda:0", 1, {}, []),
        (2, "cuda:0", "cpu", 0, {}, ["cuda:0", "cuda:1"]),
    ],
)
def test_with_fewer_devices_the_own_one_goes_on(
    states: int, before: str, now: str, devices: int, places: dict[int, int], lost: list[str]
) -> None:
    found = placed(states, torch.device(before), torch.device(now), devices)
    assert found == (places, lost)
