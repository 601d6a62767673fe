"""scikit-learn's digits and the demo's ResNet: 8x8 pixels, 10 classes, nearly solved."""

from __future__ import annotations

from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import ConcatDataset, TensorDataset, default_collate

from accaware.pytorch.builtin import digits
from search_comparison.task import Parts, Task


class Digits(Task):
    """1,257 images to train on and two times 270: 1 % is 2.7 samples."""

    name = "digits"
    dense_epochs = 20

    def network(self) -> nn.Module:
        return digits.DigitsResNet(width=16)

    def make_parts(self) -> Parts:
        parts = ConcatDataset(digits.Digits().create_datasets())
        images, classes = default_collate(list(parts))
        indices = range(len(classes))
        train, rest = train_test_split(indices, test_size=540, random_state=0, stratify=classes)
        seen, unseen = train_test_split(rest, test_size=270, random_state=0, stratify=classes[rest])
        return Parts(
            *(TensorDataset(images[part], classes[part]) for part in (train, seen, unseen))
        )
