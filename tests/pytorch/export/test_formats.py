"""What every format must do with every kind of compressed model."""

from __future__ import annotations

import copy
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from accaware.pytorch import create_compressed_model, export_model
from accaware.pytorch.export import FORMATS
from accaware.runtimes import runtime
from tests.pytorch.export.networks import (
    FLOAT,
    LAYERS,
    MIXES,
    compressed,
    outputs,
    trained,
    validation_data,
)
from tests.pytorch.training.scripts import early_exit

EXAMPLE = torch.zeros(1, 1, 8, 8)


def in_runtime(name: str) -> Callable[[Path, Tensor], Tensor]:
    def run(path: Path, images: Tensor) -> Tensor:
        (found,) = runtime(name).load(path, 1).run({0: images.numpy()})
        return torch.as_tensor(found)

    return run


def in_torch(path: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = torch.export.load(path).module()(images)
    return found


DEPLOYED = {
    "onnx": in_runtime("onnxruntime"),
    "openvino": in_runtime("openvino"),
    "torch-export": in_torch,
}


@pytest.fixture(scope="module", params=MIXES)
def mix(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def model(mix: str) -> nn.Module:
    return compressed(mix, epochs=2)


@pytest.fixture(scope="module")
def exported(
    mix: str, model: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The model's file in a format, which is made once."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def export(form: str) -> Path:
        path = folder / f"model{FORMATS[form].suffix}"
        before = outputs(model, EXAMPLE)
        written = export_model(model, EXAMPLE, path, format=form)
        assert written.dynamic_batch
        assert torch.equal(outputs(model, EXAMPLE), before)  # the model is as it was
        return path

    return export


@pytest.mark.parametrize("form", DEPLOYED)
def test_a_file_gives_the_answers_of_the_model(
    form: str, mix: str, model: nn.Module, exported: Callable[[str], Path]
) -> None:
    path = exported(form)
    images, classes = validation_data()
    expected, found = outputs(model, images), DEPLOYED[form](path, images)
    if mix in FLOAT:
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    same = (found.argmax(1) == expected.argmax(1)).float().mean()
    # Where half of so small a network is gone, some samples are close to a tie, and which ones
    # is up to the processor that trained it; with few bits a step is larger, too.
    least = {"sparse few bits": 0.98, "pruned int8": 0.99}.get(mix, 0.995)
    assert same >= least
    metrics = [float((one.argmax(1) == classes).float().mean()) for one in (found, expected)]
    assert abs(metrics[0] - metrics[1]) <= 1 - least


def test_a_state_dict_has_the_models_own_names_and_shapes(
    mix: str, model: nn.Module, tmp_path: Path
) -> None:
    export_model(model, EXAMPLE, tmp_path / "model.pt", format="state-dict")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    own = model.state_dict()
    if mix in FLOAT:
        assert state.keys() == own.keys()
        assert all(torch.equal(state[name], own[name]) for name in own)
        return
    quantized = [name.removesuffix("_integers") for name in state if name.endswith("_integers")]
    assert len(quantized) == LAYERS
    for name in quantized:
        assert state[f"{name}_integers"].dtype == torch.int8
        assert state[f"{name}_integers"].shape == own[name].shape
        assert name not in state
    assert own.keys() - set(quantized) == {name for name in state if name in own}
    assert sum(name.endswith("_quantizer") for name in state) >= LAYERS


def test_a_state_dict_holds_a_tied_tensor_once(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Conv2d(1, 64, 1), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    apart = copy.deepcopy(tied)
    tied[3].weight = tied[1].weight
    sizes = []
    for model in (tied, apart):
        path = tmp_path / f"{len(sizes)}.pt"
        export_model(model.eval(), EXAMPLE, path, format="state-dict")
        sizes.append(path.stat().st_size)
    state = torch.load(tmp_path / "0.pt", weights_only=True)
    assert torch.equal(state["1.weight"], state["3.weight"])
    assert sizes[1] - sizes[0] > 0.9 * apart[3].weight.nbytes


def test_quantized_weights_are_stored_as_integers(
    mix: str, model: nn.Module, exported: Callable[[str], Path]
) -> None:
    graph = onnx.load(exported("onnx")).graph
    kinds: Counter[int] = Counter()
    for tensor in graph.initializer:
        if len(tensor.dims) > 1:
            kinds[tensor.data_type] += 1
    expected = onnx.TensorProto.FLOAT if mix in FLOAT else onnx.TensorProto.INT8
    assert kinds == {expected: LAYERS}
    operators = Counter(node.op_type for node in graph.node)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    negative = sum(bool((norm.weight <= 0).any()) for norm in norms)
    assert negative > 0
    # Asymmetric integers can't change their sign, as these batch norms ask for.
    assert operators["BatchNormalization"] == (negative if mix == "asymmetric weights" else 0)
    if mix not in FLOAT:
        assert operators["QuantizeLinear"] > LAYERS  # of activations; no weight has one
        made = {tensor.name for tensor in graph.initializer}
        quantizing = [node for node in graph.node if node.op_type == "QuantizeLinear"]
        assert not any(node.input[0] in made for node in quantizing)


@pytest.mark.parametrize("form", ["onnx", "openvino", "torch-export", "state-dict"])
def test_a_quantized_model_takes_about_a_quarter(form: str, tmp_path: Path) -> None:
    wide = nn.Sequential(
        nn.Conv2d(1, 96, 3), nn.BatchNorm2d(96), nn.ReLU(), nn.Conv2d(96, 384, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(384, 10),
    )  # fmt: skip
    sizes = []
    for network in (copy.deepcopy(wide).eval(), compressed("int8", wide)):
        folder = tmp_path / str(len(sizes))
        export_model(network, EXAMPLE, folder / f"model{FORMATS[form].suffix}", format=form)
        sizes.append(sum(file.stat().st_size for file in folder.iterdir()))
    assert sizes[1] < 0.31 * sizes[0]


@pytest.mark.parametrize("form", DEPLOYED)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_biases_stay_what_they_are(form: str, bits: int, tmp_path: Path) -> None:
    """In integers a bias is a multiple of a weight's step, be that coarse or next to nothing."""
    torch.manual_seed(0)
    images = torch.randn(32, 3, 10, 10)
    layers = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    with torch.no_grad():
        layers[0].weight[:4] = torch.tensor([0.0, 1e-30, 1e-9, 1e-6]).view(4, 1, 1, 1)
        layers[0].bias[:4] = 1.0
        layers[2].bias.fill_(0.1)
    section = {"algorithm": "quantization", "weights": {"bits": bits}}
    controller, _ = create_compressed_model(
        layers, early_exit([section]), images[:1], [(images, torch.zeros(32))]
    )
    controller.compression_rate = controller.maximal_compression_rate
    path = tmp_path / f"model{FORMATS[form].suffix}"
    export_model(layers.eval(), images, path, format=form, dynamic_batch=False)
    expected, found = outputs(layers, images), DEPLOYED[form](path, images)
    assert (found - expected).abs().max() <= 0.01 * expected.abs().max()


def test_zeros_stay_zeros(tmp_path: Path) -> None:
    model = compressed("sparse")
    export_model(model, EXAMPLE, tmp_path / "model.onnx")
    tensors = onnx.load(tmp_path / "model.onnx").graph.initializer
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.dims) > 1]
    zeros = sum(int((array == 0).sum()) for array in arrays)
    assert zeros >= 0.4 * sum(array.size for array in arrays)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_convolve_and_add_integers(name: str, tmp_path: Path) -> None:
    form = {"onnxruntime": "onnx", "openvino": "openvino"}[name]
    path = tmp_path / f"model{FORMATS[form].suffix}"
    export_model(compressed("int8"), EXAMPLE, path, format=form, dynamic_batch=False)
    kernels = runtime(name).load(path, 1).profile({0: EXAMPLE.numpy()})
    convolutions = [kernel for kernel in kernels if kernel.convolves]
    additions = [kernel for kernel in kernels if "Add" in kernel.operator]
    assert [kernel.precision for kernel in convolutions] == (LAYERS - 1) * ["int8"]
    # OpenVINO makes them part of the convolutions.
    wanted = 2 if name == "onnxruntime" else 0
    assert [kernel.precision for kernel in additions] == wanted * ["int8"]


def test_metadata_is_in_the_file_and_nothing_of_the_machine(tmp_path: Path) -> None:
    given = {"accaware.version": "1.2", "accaware.metric": "top1"}
    model = trained()
    export_model(model, EXAMPLE, tmp_path / "model.onnx", metadata=given)
    read = onnx.load(tmp_path / "model.onnx")
    assert {entry.key: entry.value for entry in read.metadata_props} == given
    assert str(Path(torch.__file__).parent).encode() not in read.SerializeToString()
    assert not any(node.metadata_props for node in read.graph.node)
    assert read.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert read.opset_import[0].version == 21

    export_model(model, EXAMPLE, tmp_path / "model.xml", format="openvino", metadata=given)
    assert '<version value="1.2"' in (tmp_path / "model.xml").read_text()
    export_model(model, EXAMPLE, tmp_path / "model.pt2", format="torch-export", metadata=given)
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        assert any("accaware.metric" in name for name in archive.namelist())


@pytest.mark.parametrize("dynamic", [True, False])
def test_layers_of_sequences_multiply_integers(dynamic: bool, tmp_path: Path) -> None:
    """Their inputs have both signs, and a bias follows; onnxruntime likes to make floats of it."""
    torch.manual_seed(0)
    tokens = torch.randn(4, 5, 16)
    layers = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
    with torch.no_grad():
        layers[3].bias.zero_()
    controller, _ = create_compressed_model(
        layers, early_exit([{"algorithm": "quantization"}]), tokens, [(tokens, torch.zeros(4))]
    )
    controller.compression_rate = controller.maximal_compression_rate
    export_model(layers.eval(), tokens, tmp_path / "model.onnx", dynamic_batch=dynamic)
    kernels = runtime("onnxruntime").load(tmp_path / "model.onnx", 1).profile({0: tokens.numpy()})
    products = [
        one.operator for one in kernels if "MatMul" in one.operator or "Gemm" in one.operator
    ]
    assert products == 2 * ["MatMulIntegerToFloat"]
