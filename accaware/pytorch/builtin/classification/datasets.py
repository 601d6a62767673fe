"""Datasets by the names that configs have for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from torchvision import datasets

from accaware.config.model.task import TaskConfig
from accaware.errors import TaskError
from accaware.pytorch.builtin.classification.fake import FakeImages
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.wording import did_you_mean, first_line

_VALIDATION_FOLDERS = ("val", "validation", "valid", "test")


@dataclass(frozen=True)
class DatasetKind:
    """What is known of a dataset without its files.

    Attributes:
        name: as the config has it.
        classes: None where the files tell.
        size: of its images, in pixels; None where they have many.
        mean, std: of its training images by channel, of values from 0 to 1.
        channels: of its images.
        mirrored: whether an image seen in a mirror still shows its class.
        folder: what of torchvision's the folder must hold; empty for one folder a class.
        make: of torchvision, where it can fetch the data.
    """

    name: str
    classes: int | None
    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    mirrored: bool = True
    folder: str = ""
    make: Callable[..., Any] | None = None


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

# Those of CIFAR-10 are what NNCF's samples, and so their published weights, were trained with.
KINDS = {
    kind.name: kind
    for kind in (
        DatasetKind("cifar10", 10, 32, *_HALF, folder="cifar-10-batches-py", make=datasets.CIFAR10),
        DatasetKind(
            "cifar100",
            100,
            32,
            (0.5071, 0.4865, 0.4409),
            (0.2673, 0.2564, 0.2762),
            folder="cifar-100-python",
            make=datasets.CIFAR100,
        ),
        DatasetKind(
            "mnist",
            10,
            28,
            (0.1307,),
            (0.3081,),
            channels=1,
            mirrored=False,
            folder="MNIST/raw",
            make=datasets.MNIST,
        ),
        DatasetKind(
            "fashion_mnist",
            10,
            28,
            (0.2860,),
            (0.3530,),
            channels=1,
            folder="FashionMNIST/raw",
            make=datasets.FashionMNIST,
        ),
        DatasetKind("imagenet", 1000, None, *_IMAGENET),
        DatasetKind("image_folder", None, None, *_IMAGENET),
        DatasetKind("fake", 10, None, *_HALF),
    )
}
_OTHER_NAMES = {"fashionmnist": "fashion_mnist", "imagefolder": "image_folder"}


def kind_of(dataset: str) -> DatasetKind | None:
    """The dataset of that name, in any case; None where there is none."""
    name = dataset.lower().replace("-", "_")
    return KINDS.get(_OTHER_NAMES.get(name, name))


class NamedDataset:
    """A dataset whose files were found, or are to be fetched.

    Args:
        faults: gets what is wrong with the name and the folder.
    """

    def __init__(self, task: TaskConfig, faults: Faults) -> None:
        self._task = task
        kind = kind_of(task.dataset)
        self.kind = kind or KINDS["image_folder"]
        self._root = Path()
        if kind is None:
            hint = (
                did_you_mean(task.dataset.lower(), KINDS, most=3)
                or f"; there are {', '.join(KINDS)}"
            )
            faults.add("dataset", f"{task.dataset} is none that this tool knows by name{hint}")
        elif kind.name == "fake":
            if task.download:
                faults.add("download", "fake images are made, not fetched; leave it out")
        elif task.dataset_dir is None:
            faults.add("dataset_dir", f"is missing: the folder of {kind.name}; name it with --data")
        else:
            self._root = self._found(kind, Path(task.dataset_dir), faults)

    @property
    def classes(self) -> int:
        """How many there are, by the files where these tell."""
        if self.kind.folder or self.kind.name == "fake":
            assert self.kind.classes is not None
            return self._task.num_classes or self.kind.classes
        return len(_classes(self._root / "train"))

    def open(self, *, train: bool, size: int, transform: Callable[[Any], Any]) -> Any:
        """A dataset of (transformed image, class).

        Args:
            size: of images that are made up.

        Raises:
            TaskError: its files are damaged, can't be read or fetched.
        """
        if self.kind.name == "fake":
            classes = self.classes
            return FakeImages(size=size, classes=classes, train=train, transform=transform)
        try:
            if self.kind.make is None:
                folder = self._root / ("train" if train else _validation(self._root) or "val")
                return datasets.ImageFolder(str(folder), transform)
            return self.kind.make(
                str(self._root), train=train, transform=transform, download=self._task.download
            )
        except (OSError, RuntimeError) as error:
            raise TaskError([("dataset_dir", self._failure(error))]) from error

    def _failure(self, error: Exception) -> str:
        if isinstance(error, URLError):
            return f"{self.kind.name} can't be fetched into {self._root} ({error.reason})"
        return f"{self.kind.name} in {self._root} can't be read: {first_line(error)}"

    def _found(self, kind: DatasetKind, root: Path, faults: Faults) -> Path:
        """The folder that torchvision wants to hear of."""
        if kind.make is None:
            self._check_folders(kind, root, faults)
            return root
        inner = Path(kind.folder)
        if root.name == inner.parts[0] and (root.parent / inner).is_dir():
            root = root.parent  # they named the folder within
        if not self._task.download and not (root / inner).is_dir():
            faults.add(
                "dataset_dir",
                f"{kind.name} is not in {root}, which should hold {kind.folder}; fetch it with "
                f"--download, or name another folder with --data",
            )
        return root

    def _check_folders(self, kind: DatasetKind, root: Path, faults: Faults) -> None:
        if self._task.download:
            faults.add("download", f"{kind.name} can't be fetched; put it into {root} yourself")
        missing = []
        if not (root / "train").is_dir():
            missing.append("train")
        if _validation(root) is None:
            missing.append(" or ".join(_VALIDATION_FOLDERS))
        if missing:
            faults.add(
                "dataset_dir",
                f"{kind.name} is not in {root}, which should hold {' and '.join(missing)}, with a "
                "folder of images for each class; name another folder with --data",
            )
            return
        train, validation = _classes(root / "train"), _classes(root / str(_validation(root)))
        if train != validation:
            odd = sorted(set(train) ^ set(validation))[:3]
            faults.add(
                "dataset_dir",
                f"{root}: the classes of training and validation differ, in {', '.join(odd)}",
            )
        wanted = self._task.num_classes or kind.classes
        if wanted not in (None, len(train)):
            origin = "" if self._task.num_classes else f" (that of {kind.name})"
            faults.add("num_classes", f"{wanted}{origin}, but {root} has {len(train)} classes")


def _classes(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _validation(root: Path) -> str | None:
    return next((name for name in _VALIDATION_FOLDERS if (root / name).is_dir()), None)
