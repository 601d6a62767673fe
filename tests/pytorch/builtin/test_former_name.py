"""Configs and scripts of before name the plugins that come with accaware by another folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FORMER = "accaware.pytorch.plugins"


def test_plugins_are_found_by_their_former_name(tmp_path: Path) -> None:
    config = Path(__file__).parents[3] / "configs" / "digits_filter_pruning.json"
    text = config.read_text(encoding="utf-8")
    assert "accaware.pytorch.builtin" in text
    former = tmp_path / "former.json"
    former.write_text(text.replace("accaware.pytorch.builtin", FORMER), encoding="utf-8")
    words = ["validate-config", "--check-plugin", str(former)]
    script = (
        f"from {FORMER}.torchvision import TorchvisionTask\n"
        "from accaware.cli.app import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
