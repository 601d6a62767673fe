"""The folders of the docs' readers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from sklearn.datasets import load_digits
from torch import nn
from torchvision.models import squeezenet1_1
from torchvision.transforms.functional import to_pil_image

from tests.docs.blocks import Page

DOCS = Path(__file__).parents[2] / "docs"
YOUR_MODEL = Page(DOCS / "start" / "your-model.md")


@pytest.fixture(autouse=True, scope="session")
def quickly_exported(operators_read_once: None) -> None:
    """For all pages that export or time a model."""


@pytest.fixture(scope="session")
def readers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of who has read `start/your-model.md` and done all of it; one for all workers of xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reader"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "read").exists():
            patch.chdir(folder)
            trained_model_and_data()
            for runtime in ("onnxruntime", "openvino"):  # as where only PyTorch is installed
                patch.setitem(sys.modules, runtime, None)
            with alone():
                YOUR_MODEL.run()
            shutil.copytree("runs/mine-1", "runs/mine-2")
            (folder / "read").touch()
    return folder


class alone:  # noqa: N801 - used as a function is
    """Plugins that are imported within are forgotten, and torch computes with one thread."""

    def __enter__(self) -> None:
        self._modules, self._path = set(sys.modules), list(sys.path)
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)
        sys.path[:] = self._path
        for name in set(sys.modules) - self._modules:
            if name in ("mine", "lit", "denoise") or name.startswith("accaware_plugin_"):
                del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, readers_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which has what the page's reader has by then."""
    shutil.copytree(readers_folder, tmp_path / "here", ignore=shutil.ignore_patterns("lock"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with alone():
        yield tmp_path / "here"


def trained_model_and_data() -> None:
    """What `start/your-model.md` finds: a small classifier of digits, and 800 of them."""
    images, classes = load_digits(return_X_y=True)
    inputs = torch.as_tensor(images[:800], dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    targets = torch.as_tensor(classes[:800])
    torch.save((inputs, targets), "data.pt")
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for some, theirs in zip(inputs[:600].split(50), targets[:600].split(50), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(some), theirs).backward()
            optimizer.step()
    torch.save(model.state_dict(), "mine.pt")


def checkpoint() -> None:
    """Lightning's, of the module in `start/library-models.md`."""
    layers = nn.Sequential(
        *(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    )
    state = {f"layers.{name}": value for name, value in layers.state_dict().items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.0"}, "last.ckpt")


def flowers() -> None:
    """What a reader with a model of torchvision has: its weights, and photographs in folders."""
    generator = torch.Generator().manual_seed(0)
    for part, number in (("train", 6), ("val", 3)):
        for channel, name in enumerate(("daisy", "rose", "tulip")):
            place = Path("flowers", part, name)
            place.mkdir(parents=True)
            for index in range(number):
                photograph = 0.3 * torch.rand(3, 40, 40, generator=generator)
                photograph[channel] += 0.6
                to_pil_image(photograph).save(place / f"{index}.png")
    torch.save(squeezenet1_1(num_classes=3).state_dict(), "flowers.pt")
