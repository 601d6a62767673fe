"""Images made up on the spot, to try a config without any data."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import to_pil_image

_TRAINING, _VALIDATION = 512, 256
_NOISE = 60.0


class FakeImages(Dataset[tuple[object, int]]):
    """A pattern of colours for each class under noise: something that a model can learn.

    Every image is the same each time that it is asked for, and no random state is touched.
    """

    def __init__(self, *, size: int, classes: int, train: bool, transform: object) -> None:
        self._size = size
        self._classes = classes
        self._train = train
        self._transform = transform

    def __len__(self) -> int:
        return _TRAINING if self._train else _VALIDATION

    def __getitem__(self, index: int) -> tuple[object, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        label = index % self._classes
        pattern = 255 * torch.rand(3, 4, 4, generator=_generator(label))
        own = _generator(1_000_000 + 2 * index + self._train)
        image = torch.nn.functional.interpolate(pattern[None], size=(self._size, self._size))[0]
        image += _NOISE * torch.randn(image.shape, generator=own)
        picture = to_pil_image(image.clamp(0, 255).to(torch.uint8))
        return (self._transform(picture) if callable(self._transform) else picture), label


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
