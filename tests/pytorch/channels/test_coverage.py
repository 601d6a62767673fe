"""Small classifiers of torchvision of each kind; ``scripts/coverage_torchvision.py`` does all."""

from __future__ import annotations

import os
import sys

import pytest

from scripts.coverage_torchvision import main

KINDS = (
    "squeezenet1_1",  # concatenates
    "shufflenet_v2_x0_5",  # splits and shuffles
    "mnasnet0_5",  # adds, and convolves each channel apart
    "mobilenet_v3_small",  # scales channels by what they hold
    "regnet_y_400mf",  # convolves in groups
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_one_of_each_kind_is_pruned_rightly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["coverage_torchvision.py", *KINDS])
    code = main()
    told = capsys.readouterr().out
    assert code == 0, told
    assert "5 classifiers: 5 pruned by at least 10%" in told
