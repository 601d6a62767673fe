"""What every runtime must do, on one small network and scikit-learn's digits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from accaware.errors import MissingExtraError, UsageError
from accaware.runtimes import RUNTIMES, Session, runtime

IMAGES = load_digits().images[:2, None].astype(np.float32) / 16


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, image: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(image).relu()
        return self.head(features.mean((2, 3))) + bias, features


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return TwoInputs().eval()


@pytest.fixture(scope="module")
def files(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model as each runtime reads it, by runtime and suffix."""
    import openvino

    folder = tmp_path_factory.mktemp("models")
    onnx, xml = folder / "model.onnx", folder / "model.xml"
    example = (torch.as_tensor(IMAGES), torch.zeros(2, 10))
    names = ["image", "bias"]
    torch.onnx.export(model, example, onnx, input_names=names, dynamo=True, verbose=False)
    openvino.save_model(openvino.Core().read_model(onnx), xml, compress_to_fp16=False)
    return {"onnxruntime .onnx": onnx, "openvino .onnx": onnx, "openvino .xml": xml}


Load = Callable[..., Session]


@pytest.fixture(params=["onnxruntime .onnx", "openvino .onnx", "openvino .xml"])
def load(request: pytest.FixtureRequest, files: dict[str, Path]) -> Load:
    name = request.param.split()[0]
    return lambda threads=1: runtime(name).load(files[request.param], threads)


def test_it_computes_what_torch_does(load: Load, model: nn.Module) -> None:
    session = load()
    bias = np.linspace(-1, 1, 20, dtype=np.float32).reshape(2, 10)
    with torch.no_grad():
        expected = model(torch.as_tensor(IMAGES), torch.as_tensor(bias))
    assert session.input_names == ("image", "bias")
    for inputs in (
        {0: IMAGES, 1: bias},
        {"bias": bias, "image": IMAGES},
        {"bias": bias, 0: IMAGES},
    ):
        outputs = session.run(inputs)
        for output, tensor in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(output, tensor, atol=1e-5)


def test_outputs_are_the_callers(load: Load) -> None:
    session = load()
    inputs = {0: IMAGES, 1: np.zeros((2, 10), np.float32)}
    first = session.run(inputs)[0]
    before = first.copy()
    session.run({0: IMAGES + 1, 1: inputs[1]})
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(load: Load, threads: int) -> None:
    assert load(threads).threads == threads


def test_the_profile_tells_what_ran(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kernels = load().profile({0: IMAGES, 1: np.zeros((2, 10), np.float32)})
    convolutions = [kernel for kernel in kernels if kernel.convolves]
    assert [kernel.precision for kernel in convolutions] == ["float32"]
    assert all(kernel.seconds >= 0 and kernel.operator and kernel.name for kernel in kernels)
    assert sum(kernel.seconds for kernel in kernels) > 0
    assert len({kernel.name for kernel in kernels}) == len(kernels)  # of one run
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({0: IMAGES}, "inputs that are missing: bias"),
        ({0: IMAGES, 2: IMAGES}, "the model has no input 2; it has image, bias"),
        ({"label": IMAGES}, "the model has no input 'label'"),
        ({0: IMAGES, "image": IMAGES}, "input 'image' is given twice"),
    ],
)
def test_wrong_inputs(load: Load, inputs: dict[str | int, np.ndarray], message: str) -> None:
    session = load()
    with pytest.raises(UsageError, match=message):
        session.run(inputs)
    with pytest.raises(UsageError, match=message):
        session.profile(inputs)


@pytest.mark.parametrize("name", RUNTIMES)
def test_files_that_are_no_models(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        runtime(name).load(tmp_path / "model.onnx", 1)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match=r"model\.onnx: .* can't load it"):
        runtime(name).load(tmp_path / "model.onnx", 1)


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_what_is_not_installed_names_its_extra(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime(name).name == name
    monkeypatch.setitem(sys.modules, name, None)  # makes importing it fail
    with pytest.raises(MissingExtraError) as error:
        runtime(name)
    assert f'pip install "accaware[{extra}]"' in str(error.value)


def test_a_runtime_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="no runtime 'tflite'; there is onnxruntime, openvino"):
        runtime("tflite")


SIGNALS = """
import gc, signal, subprocess, sys
from pathlib import Path
import numpy as np
from accaware.runtimes import runtime
name, path, images = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
def use(session):
    session.run({0: images, 1: np.zeros((2, 10), np.float32)})
    signal.raise_signal(signal.SIGTERM)
first, second = runtime(name).load(path, 1), runtime(name).load(path, 2)
use(second), use(first)
del first
gc.collect()
signal.raise_signal(signal.SIGTERM)
del second
gc.collect()
signal.raise_signal(signal.SIGTERM)
print(len(seen))
"""


def test_signals_are_handled_while_sessions_live_and_after_them(
    files: dict[str, Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    for which, path in files.items():
        arguments = [which.split()[0], str(path), str(tmp_path / "images.npy")]
        done = subprocess.run(
            [sys.executable, "-c", SIGNALS, *arguments], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "4\n"), (which, done.stderr)
