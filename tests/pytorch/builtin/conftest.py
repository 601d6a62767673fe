from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from accaware import AccAwareConfig
from tests.config.samples import pruning

Make = Callable[..., AccAwareConfig]

MODEL = {
    "model": "mobilenet_v2",
    "model_params": {
        "width_mult": 0.25,
        "inverted_residual_setting": [[1, 8, 1, 2], [2, 8, 1, 2], [1, 8, 1, 2]],
    },
}
"""One of torchvision's, of three blocks; its widest layer sees images of a quarter of the size."""


def config(**keys: Any) -> AccAwareConfig:
    """A small task on images that are made up, changed by ``keys``; None leaves one out."""
    small = {
        **MODEL,
        "dataset": "fake",
        "num_classes": 4,
        "input_info": {"sample_size": [1, 3, 16, 16]},
    }
    data = pruning() | small | keys
    return AccAwareConfig.from_dict(
        {key: value for key, value in data.items() if value is not None}
    )


@pytest.fixture(scope="session")
def digits() -> tuple[Any, Any]:
    """(N, 8, 8) images of bytes and (N,) classes, 40 of each."""
    images, classes = load_digits(return_X_y=True)
    order = numpy.argsort(classes, kind="stable").reshape(-1)
    chosen = numpy.concatenate([order[classes[order] == one][:40] for one in range(10)])
    pixels = (images[chosen].reshape(-1, 8, 8) * 15).astype(numpy.uint8)
    return pixels, classes[chosen]


@pytest.fixture
def mnist(tmp_path: Path, digits: tuple[Any, Any]) -> Path:
    """The digits, 28 pixels wide, in MNIST's files."""
    return write_idx(tmp_path / "mnist", "MNIST", digits)


def write_idx(root: Path, name: str, digits: tuple[Any, Any]) -> Path:
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    images, classes = digits
    large = numpy.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    for part, chosen in (("train", slice(0, None, 2)), ("t10k", slice(1, None, 2))):
        pixels, labels = large[chosen], classes[chosen].astype(numpy.uint8)
        head = struct.pack(">IIII", 2051, *pixels.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">II", 2049, len(labels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return root


@pytest.fixture
def cifar10(tmp_path: Path, digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The digits in CIFAR-10's files, whose digests torchvision is told."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images, classes = digits
    colour = numpy.stack([images.repeat(4, 1).repeat(4, 2)] * 3, 1).reshape(len(images), -1)
    parts = {"data_batch_1": slice(0, None, 2), "test_batch": slice(1, None, 2)}
    contents: dict[str, Any] = {
        name: {"data": colour[chosen], "labels": classes[chosen].tolist()}
        for name, chosen in parts.items()
    }
    contents["batches.meta"] = {"label_names": [str(one) for one in range(10)]}
    digests = {}
    for name, content in contents.items():
        raw = pickle.dumps(content)
        (folder / name).write_bytes(raw)
        digests[name] = md5(raw).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", digests["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    meta = {**CIFAR10.meta, "md5": digests["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return folder.parent


@pytest.fixture
def image_folder(tmp_path: Path, digits: tuple[Any, Any]) -> Path:
    """Three classes of digits, a file an image."""
    root = tmp_path / "images"
    images, classes = digits
    for index, (image, label) in enumerate(zip(images, classes, strict=True)):
        if label < 3:
            folder = root / ("train" if index % 2 else "val") / f"digit_{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{index}.png")
    return root


def written(folder: Path, **keys: Any) -> Path:
    """A config file for a run of two epochs."""
    data = {
        **MODEL,
        "dataset": "fake",
        "num_classes": 4,
        "input_info": {"sample_size": [1, 3, 16, 16]},
        "batch_size": 128,
        "device": "cpu",
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_relative_accuracy_degradation": 90,
                "initial_training_phase_epochs": 1,
                "patience_epochs": 1,
                "maximal_total_epochs": 2,
            },
        },
        "compression": {
            "algorithm": "filter_pruning",
            "params": {"pruning_target": 0.3, "pruning_steps": 1},
        },
    }
    file = folder / "config.json"
    file.write_text(json.dumps({**data, **keys}))
    return file
