"""Folding changes nothing: whatever the numbers, and whoever else reads a tensor."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from accaware.pytorch.export.deployed import deployed
from accaware.pytorch.export.rounding import Arithmetic
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import Quantizers, attach
from accaware.pytorch.quantization.quantizers import WeightQuantizer

IMAGES = torch.randn(2, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))


def of_deployed(model: nn.Module, images: Tensor = IMAGES) -> nn.Module:
    return deployed(model, ExampleInputs.of(images), Arithmetic())


def norms_in(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    bias=st.booleans(),
    affine=st.booleans(),
    groups=st.sampled_from([1, 2, 4]),
    bits=st.sampled_from([None, 2, 5, 8]),
    symmetric=st.booleans(),
    per_channel=st.booleans(),
    signs=st.sampled_from(["positive", "any", "zeros"]),
)
def test_a_folded_model_computes_the_same(
    seed: int, bias: bool, affine: bool, groups: int, bits: int | None, symmetric: bool,
    per_channel: bool, signs: str,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(8, affine=affine)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, bias=bias, groups=groups), norm, nn.ReLU())
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.01, 2)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        with torch.no_grad():
            if signs == "positive":
                norm.weight.abs_()
            if signs == "zeros":
                norm.weight[:3] = 0
    kind = torch.double if bits is None else torch.float
    images = IMAGES.to(kind)
    model.to(kind).eval()
    if bits is not None:
        quantizer = WeightQuantizer.of(
            bits, symmetric=symmetric, axis=0 if per_channel else None, half_range=False
        )
        attach(model, Quantizers({"0": quantizer}, ()))
    own = of_deployed(model, images)
    folds = bits is None or symmetric or not affine or bool((norm.weight > 0).all())
    assert norms_in(own) == (0 if folds else 1)
    tolerance = 1e-10 if bits is None else 1e-5
    torch.testing.assert_close(own(images), model(images), rtol=tolerance, atol=tolerance)


class Shared(nn.Module):
    """A convolution whose output is read twice, one that is called twice, one that is given out."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.norm1 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.called_twice, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.given_out, self.norm3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first = self.read_twice(images)
        second = first + self.norm1(first)
        third = self.norm2(self.called_twice(self.called_twice(second)))
        fourth = self.given_out(third)
        return fourth, self.norm3(fourth)


def test_a_tensor_that_others_read_stays_what_it_is() -> None:
    model = Shared().double()
    model(IMAGES)
    own = of_deployed(model.eval())
    assert norms_in(own) == 3
    for found, expected in zip(own(IMAGES), model(IMAGES), strict=True):
        torch.testing.assert_close(found, expected)


def test_tied_weights_stay_tied() -> None:
    first, second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    second.weight = first.weight
    model = nn.Sequential(first, nn.BatchNorm2d(4), second, nn.BatchNorm2d(4)).double()
    model(IMAGES)
    own = of_deployed(model.eval())
    torch.testing.assert_close(own(IMAGES), model(IMAGES))
