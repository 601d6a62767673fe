"""NNCF's scopes find the modules that they meant."""

from __future__ import annotations

import pytest

from accaware.config.model.scopes import class_lineage, matches, spellings
from tests.config.samples import pruning

RESNET = {
    "": "ResNet",
    "conv1": "Conv2d",
    "layer1": "Sequential",
    "layer1.0": "BasicBlock",
    "layer1.0.conv1": "Conv2d",
    "layer1.0.bn1": "BatchNorm2d",
    "layer1.0.relu": "ReLU",
    "layer1.1": "BasicBlock",
    "layer1.1.conv1": "Conv2d",
    "layer10": "Sequential",
    "fc": "Linear",
}
UNET = {
    "": "UNet",
    "up_path": "ModuleList",
    "up_path.0": "UNetUpBlock",
    "up_path.0.up": "ConvTranspose2d",
    "up_path.1": "UNetUpBlock",
    "up_path.1.up": "ConvTranspose2d",
    "last": "Conv2d",
}
PATHS = [
    *("conv1", "layer1", "layer2", "down_path", "fc"),
    *("layer1.0", "layer2.conv1", "down_path.1"),
    *("layer1.0.conv1", "down_path.1.0"),
]
"""Those around others come first."""


def found(pattern: str, model: dict[str, str]) -> set[str]:
    return {path for path in model if path and matches(pattern, path, class_lineage(model, path))}


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("ResNet/NNCFConv2d[conv1]/conv2d_0", "conv1"),
        ("ResNet/Sequential[layer1]/BasicBlock[0]/conv2d_0", "layer1.0"),
        ("ResNet/Sequential[layer1]/BasicBlock[0]/NNCFConv2d[conv1]/conv2d_0", "layer1.0.conv1"),
        ("UNet/ModuleList[down_path]/UNetConvBlock[1]/Conv2d[0]", "down_path.1.0"),
        ("DataParallel/ResNet[module]/Sequential[layer1]/BasicBlock[0]", "layer1.0"),
        ("NNCFNetwork/ResNet[nncf_module]/NNCFLinear[fc]/linear_0", "fc"),
        ("ICNet/interpolate_0", None),
        ("/nncf_model_input_0", None),
        ("layer1.0", "layer1.0"),
        ("layer[12].conv1", "layer2.conv1"),
        ("a/b.c[d]e", None),
    ],
)
def test_a_scope_means_the_module_at_this_path(scope, path):
    outermost = next((one for one in PATHS if matches(scope, one, ())), None)
    assert outermost == path


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("ResNet/NNCFConv2d[conv1]/conv2d_0", {"conv1"}),
        ("ResNet/Conv2d[conv1]", {"conv1"}),
        (
            "ResNet/Sequential[layer1]/BasicBlock[0]",
            {"layer1.0", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu"},
        ),
        ("ResNet/Sequential[layer1]/BasicBlock[0]/__iadd___0", {"layer1.0"}),
        ("ResNet/relu_0", set()),
        ("layer1.0", {"layer1.0", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu"}),
        ("layer?.*.conv1", {"layer1.0.conv1", "layer1.1.conv1"}),
        ("{re}layer1.*conv1", {"layer1.0.conv1", "layer1.1.conv1"}),
        ("{re}conv1", {"conv1"}),
        (r"{re}ResNet/Sequential\[layer1\]/.*conv2d_0$", {"layer1.0.conv1", "layer1.1.conv1"}),
        (r"{re}NNCFConv2d\[conv1\]", {"conv1", "layer1.0.conv1", "layer1.1.conv1"}),
        (r"{re}^ResNet/Conv2d\[conv1\]$", {"conv1"}),
        (r"{re}BatchNorm2d\[\w+\]/batch_norm_0", {"layer1.0.bn1"}),
    ],
)
def test_a_pattern_means_these_modules_of_a_resnet(pattern, paths):
    assert found(pattern, RESNET) == paths


def test_the_patterns_of_nncfs_unet_mean_its_upward_path():
    everything = {path for path in UNET if path.startswith("up_path")}
    assert found(r"{re}UNet/ModuleList\[up_path\].*", UNET) == everything
    one = r"{re}UNet/ModuleList\[up_path\]/UNetUpBlock\[0\]/NNCFConvTranspose2d\[up\].*"
    assert found(one, UNET) == {"up_path.0.up"}


def test_a_layer_has_four_spellings_and_a_container_one():
    assert list(spellings("fc", ("ResNet", "Linear"))) == [
        "ResNet/Linear[fc]",
        "ResNet/NNCFLinear[fc]",
        "ResNet/Linear[fc]/linear_0",
        "ResNet/NNCFLinear[fc]/linear_0",
    ]
    assert list(spellings("layer1", ("ResNet", "Sequential"))) == ["ResNet/Sequential[layer1]"]
    assert list(spellings("", ("ResNet",))) == ["ResNet"]


@pytest.mark.parametrize("scope", ["{re}layer[", "{re}*", "{re}" + "(" * 3000])
def test_a_scope_that_is_no_regular_expression_is_an_error(check, scope):
    data = pruning()
    data["compression"]["ignored_scopes"] = ["layer1", scope]
    (one,) = check(data)
    assert one.path == "compression.ignored_scopes[1]"
    assert "regular expression" in one.message
