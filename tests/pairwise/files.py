"""A row's files: a config, and a plugin or data beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accaware import AccAwareConfig
from accaware.pytorch.builtin.classification import ImageClassification
from tests.pairwise.table import Row
from tests.pairwise.task import BATCH, VALIDATION, part, settings, trained
from tests.pytorch.builtin.conftest import write_idx
from tests.runners.torch_case import digits

PLUGINS = {
    "datasets": "from tests.pairwise.plugins import create_model, create_datasets\n",
    "own training": """\
from functools import partial

from tests.pairwise import plugins
from tests.pairwise.plugins import configure_optimizers, create_model, example_inputs

create_dataloaders = partial(plugins.loaders, {workers}, "{confirmation}")
train_epoch = partial(plugins.train_epoch, precision="{precision}")
validate = partial(plugins.validate, precision="{precision}")
""",
    "class": "from tests.pairwise.plugins import Augmenting\n",
}
TORCHVISION = {
    "model": "mobilenet_v2_32x32",
    "model_params": {
        "width_mult": 0.25,
        "inverted_residual_setting": [[1, 8, 1, 2], [1, 8, 1, 2]],
    },
    "dataset": "mnist",
    "num_classes": 10,
    "input_info": {"sample_size": [1, 3, 8, 8]},
    "batch_size": 16,
}


def written(row: Row, folder: Path) -> Path:
    """A row's config, and its plugin beside it."""
    config = settings(row)
    form = row["form"]
    if form == "torchvision":
        images, classes = digits()
        some = ((images[:128, 0] + 1) * 127).byte().numpy(), classes[:128].numpy()
        config |= TORCHVISION | {"dataset_dir": str(write_idx(folder / "data", "MNIST", some))}
        torch.save(mobilenet(config), folder / "weights.pth")
        config["weights"] = "weights.pth"
    else:
        text = PLUGINS[form].format_map(row)
        (folder / "mine.py").write_text(text)
        config |= {"plugin": "mine.py", "batch_size": BATCH}
    if form == "class":
        config["plugin"] += ":Augmenting"
        config["plugin_args"] = {"precision": row["precision"], "noise": 0.1}
    elif form != "own training" and row["precision"] == "mixed":
        config["mixed_precision"] = True
    if form != "own training":
        config["num_workers"] = int(row["workers"])
        config["optimizer"] = {"type": "Adam", "base_lr": 0.005}
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return file


WEIGHTS: dict[str, Tensor] = {}


def mobilenet(config: dict[str, Any]) -> dict[str, Tensor]:
    """Trained weights of torchvision's model: of one that knows nothing, nothing can be lost."""
    if not WEIGHTS:
        torch.manual_seed(0)
        task = ImageClassification(AccAwareConfig.from_dict(config))
        model, (data, _) = task.create_model(), task.create_datasets()
        images = torch.stack([data[at][0] for at in range(len(data))])
        classes = torch.tensor([data[at][1] for at in range(len(data))])
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(15):
            for batch in torch.randperm(len(images)).split(16):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
                optimizer.step()
        WEIGHTS.update(model.state_dict())
    return WEIGHTS


def fresh_model(row: Row, directory: Path) -> tuple[nn.Module, Tensor]:
    """The dense model as a user makes it, and images to try it on."""
    if row["form"] != "torchvision":
        return trained(), part(VALIDATION).tensors[0]
    task = ImageClassification(AccAwareConfig.from_json(directory / "config.json"))
    _, data = task.create_datasets()
    return task.create_model(), torch.stack([data[at][0] for at in range(64)])
