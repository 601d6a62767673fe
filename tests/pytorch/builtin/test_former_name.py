"""Configs and scripts of before name the plugins that come with accaware by another folder."""

from __future__ import annotations

from pathlib import Path

from accaware.plugins.load import load_plugin


def test_plugins_are_found_by_their_former_name() -> None:
    from accaware.pytorch.plugins.torchvision import TorchvisionTask

    former, present = (
        load_plugin(f"accaware.pytorch.{folder}.digits:Digits", {"width": 4}, Path())
        for folder in ("plugins", "builtin")
    )
    assert TorchvisionTask.__name__ == "TorchvisionTask"
    assert former.offers("create_model") == present.offers("create_model") is True
