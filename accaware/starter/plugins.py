"""The text of a plugin whose blanks its user fills in."""

from __future__ import annotations

from string import Template

MARK = "FILL IN"
"""Stands at each blank."""


def own_model(file: str) -> str:
    """A module with the functions that a plugin needs, and those that it may have."""
    return Template(_OWN_MODEL).substitute(FILE=file)


def lightning(file: str, module: str, datamodule: str | None, monitor: str) -> str:
    """A module with a LightningModule and its data.

    Args:
        module: the name of the class; ``datamodule`` likewise, None for none.
        monitor: what its validation logs.
    """
    text = _LIGHTNING + (_DATAMODULE if datamodule else "") + _LOADERS
    words = {"FILE": file, "MODULE": module, "DATA": datamodule or "", "MONITOR": monitor}
    return Template(text).substitute(words)


_OWN_MODEL = '''\
"""A model and its data for accaware. What is marked FILL IN is yours to write."""

from __future__ import annotations

from torch import nn
from torch.utils.data import Dataset


def create_model() -> nn.Module:
    """The trained model, made anew each time this is called."""
    # FILL IN: the model, and its trained weights.
    #     model = MyModel(classes=10)
    #     model.load_state_dict(torch.load("my_model.pt", map_location="cpu", weights_only=True))
    #     return model
    raise NotImplementedError("$FILE: create_model is still a blank")


def create_datasets() -> tuple[Dataset, Dataset]:
    """The data for training and for validation: pairs of an input and its class."""
    # FILL IN: prepared as they were when the model was trained.
    #     prepare = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    #     train = datasets.ImageFolder("data/train", prepare)
    #     return train, datasets.ImageFolder("data/val", prepare)
    raise NotImplementedError("$FILE: create_datasets is still a blank")


# That is all for a classifier. What else a plugin may have, for other tasks (these lines are what
# is done without them):
#
# def loss(outputs, targets):
#     return nn.functional.cross_entropy(outputs, targets)
#
# def validate(model, validation_loader) -> float:  # the metric, here top-1 in percent
# def train_epoch(model, train_loader, optimizer, compression) -> float:  # the mean loss
# def create_dataloaders():  # in the place of create_datasets: (train_loader, validation_loader)
# def configure_optimizers(model):  # in the place of the config's section "optimizer"
# def example_inputs():  # what the model is called with, a batch of one
'''

_LIGHTNING = '''\
"""A LightningModule and its data for accaware. What is marked FILL IN is yours to write."""

from __future__ import annotations

import lightning
import torch


class $MODULE(lightning.LightningModule):
    """The model with its steps, as a Trainer would call them."""

    def __init__(self) -> None:
        super().__init__()
        # FILL IN: the layers, as they are in the checkpoint.
        #     self.model = MyModel(classes=10)

    def forward(self, inputs):
        # FILL IN:
        #     return self.model(inputs)
        raise NotImplementedError("$FILE: forward is still a blank")

    def training_step(self, batch, batch_index):
        inputs, classes = batch
        return torch.nn.functional.cross_entropy(self(inputs), classes)

    def validation_step(self, batch, batch_index):
        inputs, classes = batch
        accuracy = (self(inputs).argmax(1) == classes).float().mean()
        self.log("$MONITOR", accuracy, on_epoch=True)

    def configure_optimizers(self):
        # FILL IN: what your training ended with; the model is trained already.
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
'''

_LOADERS = """
    def train_dataloader(self):
        # FILL IN:
        #     return torch.utils.data.DataLoader(train, batch_size=64, shuffle=True)
        raise NotImplementedError("$FILE: train_dataloader is still a blank")

    def val_dataloader(self):
        # FILL IN:
        #     return torch.utils.data.DataLoader(validation, batch_size=256)
        raise NotImplementedError("$FILE: val_dataloader is still a blank")
"""

_DATAMODULE = '''

class $DATA(lightning.LightningDataModule):
    """The data of training and validation."""
'''
