"""From a dataset's name and its files to tensors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from accaware.config.model.task import TaskConfig
from accaware.errors import TaskError
from accaware.pytorch.builtin.classification import ImageClassification
from accaware.pytorch.builtin.classification.datasets import NamedDataset
from accaware.pytorch.builtin.classification.faults import Faults
from tests.pytorch.builtin.conftest import config, write_idx

Digits = tuple[Any, Any]


def task(dataset: str, folder: Path | None, **keys: Any) -> ImageClassification:
    place = None if folder is None else str(folder)
    plain = {"num_classes": None, "input_info": None}
    return ImageClassification(
        config(**{**plain, "dataset": dataset, "dataset_dir": place, **keys})
    )


def faults_of(dataset: str, folder: Path | None, **keys: Any) -> dict[str, str]:
    with pytest.raises(TaskError) as caught:
        task(dataset, folder, **keys).create_datasets()
    return dict(caught.value.faults)


def check_pair(
    made: ImageClassification, shape: tuple[int, ...], classes: int, sizes: tuple[int, int]
) -> None:
    train, validation = made.create_datasets()
    assert (len(train), len(validation)) == sizes
    for data in (train, validation):
        image, label = data[0]
        assert type(image) is torch.Tensor
        assert (image.shape, image.dtype) == (shape, torch.float32)
        assert {data[index][1] for index in range(len(data))} == set(range(classes))
        assert isinstance(label, int)
    model = made.create_model().eval()
    with torch.no_grad():
        assert model(validation[0][0][None]).shape == (1, classes)


def test_mnist(mnist: Path) -> None:
    check_pair(task("mnist", mnist), (3, 28, 28), 10, (200, 200))


def test_mnist_in_grey(mnist: Path) -> None:
    made = task("MNIST", mnist, input_info={"sample_size": [1, 1, 32, 32]})
    check_pair(made, (1, 32, 32), 10, (200, 200))


def test_fashion_mnist(tmp_path: Path, digits: Digits) -> None:
    root = write_idx(tmp_path, "FashionMNIST", digits)
    check_pair(task("fashion_mnist", root), (3, 28, 28), 10, (200, 200))


def test_cifar10(cifar10: Path) -> None:
    check_pair(task("CIFAR10", cifar10), (3, 32, 32), 10, (200, 200))
    within = cifar10 / "cifar-10-batches-py"
    check_pair(task("cifar10", within), (3, 32, 32), 10, (200, 200))


def test_folders_of_images(image_folder: Path) -> None:
    made = task("image_folder", image_folder, input_info={"sample_size": [1, 3, 16, 16]})
    check_pair(made, (3, 16, 16), 3, (60, 60))
    (image_folder / "val").rename(image_folder / "validation")
    imagenet = task(
        "imagenet", image_folder, num_classes=3, input_info={"sample_size": [1, 3, 16, 16]}
    )
    check_pair(imagenet, (3, 16, 16), 3, (60, 60))


def test_an_image_is_normalized_and_validated_as_it_is(mnist: Path) -> None:
    _, validation = task("mnist", mnist).create_datasets()
    pixels = validation.data[0] / 255
    torch.testing.assert_close(validation[0][0][2], (pixels - 0.1307) / 0.3081)


def test_training_images_are_shifted_and_digits_not_mirrored(mnist: Path) -> None:
    torch.manual_seed(0)
    train, validation = task("mnist", mnist).create_datasets()
    assert not all(torch.equal(train[0][0], train[0][0]) for _ in range(5))
    assert torch.equal(validation[0][0], validation[0][0])
    steps = {type(step).__name__ for step in train.transform.transforms}
    assert "RandomHorizontalFlip" not in steps
    assert "RandomCrop" in steps


def test_the_middle_of_a_large_image_is_validated() -> None:
    image = Image.new("RGB", (64, 128))
    image.paste((255, 255, 255), (8, 40, 56, 88))  # all that is left of its middle
    made = task("fake", None, input_info={"sample_size": [1, 3, 32, 32]})
    seen = made.validation_transform()(image)
    assert seen.shape == (3, 32, 32)
    assert seen[:, 6:26, 6:26].min() > 0.9


def test_published_weights_bring_their_own_validation() -> None:
    made = task("fake", None, model="inception_v3", model_params={}, weights="DEFAULT")
    image = Image.new("RGB", (400, 300), (128, 128, 128))
    seen = made.validation_transform()(image)
    assert seen.shape == (3, 299, 299)
    theirs = made.preprocessing.recipe.weights.transforms()(image)
    torch.testing.assert_close(seen, theirs)
    torch.testing.assert_close(made.training_transform()(image), theirs)
    smaller = task(
        "fake",
        None,
        model="inception_v3",
        model_params={},
        weights="DEFAULT",
        input_info={"sample_size": [1, 3, 96, 96]},
    )
    assert smaller.validation_transform()(image).shape == (3, 96, 96)


def test_fake_images_are_the_same_each_time_and_touch_no_random_state() -> None:
    before = torch.get_rng_state()
    named = NamedDataset(TaskConfig(dataset="fake", num_classes=3), Faults())
    made = named.open(train=True, size=12, transform=lambda image: image)
    first, again = made[5], made[5]
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == 2
    assert first[0].tobytes() != made[8][0].tobytes()  # of the same class
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(IndexError):
        made[len(made)]


def test_a_folder_that_lacks_the_data_is_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    said = faults_of("cifar10", tmp_path)["dataset_dir"]
    assert str(tmp_path) in said
    assert "cifar-10-batches-py" in said
    assert "--download" in said
    said = faults_of("image_folder", tmp_path)["dataset_dir"]
    assert f"not in {tmp_path}, which should hold train and val or validation" in said
    assert "--download" not in said


def test_no_folder_at_all() -> None:
    assert "name it with --data" in faults_of("cifar100", None)["dataset_dir"]


def test_a_name_that_is_unknown() -> None:
    assert "did you mean cifar10" in faults_of("cifar_10", None)["dataset"]
    assert "image_folder" in faults_of("voc", None)["dataset"]


def test_what_cannot_be_fetched(image_folder: Path) -> None:
    keys = {"input_info": {"sample_size": [1, 3, 16, 16]}, "download": True}
    assert "can't be fetched" in faults_of("image_folder", image_folder, **keys)["download"]
    assert "leave it out" in faults_of("fake", None, download=True)["download"]


def test_numbers_of_classes_that_differ(image_folder: Path) -> None:
    said = faults_of("imagenet", image_folder)["num_classes"]
    assert said == f"1000 (that of imagenet), but {image_folder} has 3 classes"
    assert faults_of("imagenet", image_folder, num_classes=5)["num_classes"].startswith("5, but")


def test_training_and_validation_of_other_classes(image_folder: Path) -> None:
    shutil.rmtree(image_folder / "val" / "digit_1")
    said = faults_of("image_folder", image_folder)["dataset_dir"]
    assert "differ, in digit_1" in said


def test_damaged_files_are_a_fault_not_a_traceback(cifar10: Path, image_folder: Path) -> None:
    (cifar10 / "cifar-10-batches-py" / "test_batch").write_bytes(b"cut off")
    assert f"cifar10 in {cifar10} can't be read" in faults_of("cifar10", cifar10)["dataset_dir"]
    for file in (image_folder / "train" / "digit_0").iterdir():
        file.unlink()
    assert "can't be read" in faults_of("image_folder", image_folder)["dataset_dir"]


def test_a_network_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    said = faults_of("mnist", tmp_path, download=True)["dataset_dir"]
    assert str(tmp_path) in said
