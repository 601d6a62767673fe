"""A table of numbers and a multilayer perceptron: which of its hidden units are needed?"""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Table:
    """Put your own table in the place of scikit-learn's 569 tumours, in two classes."""

    def __init__(self, width: int = 64, epochs: int = 15) -> None:
        self.width, self.epochs = width, epochs

    def create_datasets(self):
        columns, classes = load_breast_cancer(return_X_y=True)
        parts = train_test_split(columns, classes, test_size=0.3, random_state=0, stratify=classes)
        train, validation, train_classes, validation_classes = map(torch.as_tensor, parts)
        mean, std = train.mean(0), train.std(0)
        return (
            TensorDataset(((train - mean) / std).float(), train_classes),
            TensorDataset(((validation - mean) / std).float(), validation_classes),
        )

    def create_model(self):
        """Yours would be loaded: ``model.load_state_dict(torch.load("mlp.pt"))``."""
        model = nn.Sequential(
            nn.Linear(30, self.width), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, 2),
        )  # fmt: skip
        optimizer = torch.optim.Adam(model.parameters(), 0.005)
        train, _ = self.create_datasets()
        for _ in range(self.epochs):
            for columns, classes in DataLoader(train, 32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(columns), classes).backward()
                optimizer.step()
        return model
