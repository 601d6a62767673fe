"""Folding changes nothing: whatever the numbers, and whoever else reads a tensor."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from accaware.pytorch.export.network.deployed import deployed
from accaware.pytorch.export.network.quantization_language import BasicOperators
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import Quantizers, attach
from accaware.pytorch.quantization.quantizers import WeightQuantizer

IMAGES = torch.randn(2, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))


def of_deployed(model: nn.Module, images: Tensor = IMAGES) -> nn.Module:
    return deployed(model, ExampleInputs.of(images), BasicOperators())


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


class NormThenReLU(nn.BatchNorm2d):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).relu()


class NormThenClip(nn.BatchNorm2d):
    """Cuts off what hardly any value reaches."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).clamp(-2.5, 6)


class NormOfItsOwnWriting(nn.BatchNorm2d):
    """No more than a batch norm, told otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        out = nn.functional.batch_norm(
            images, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps
        )
        return nn.Identity()(out)


class NormWithAnotherEpsilon(nn.BatchNorm2d):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            images, self.running_mean, self.running_var, self.weight, self.bias, False, 0, 1e-3
        )


class OneMoreThanItsScale(nn.BatchNorm2d):
    def forward(self, images: Tensor) -> Tensor:
        assert self.weight is not None
        return super().forward(images) * (1 + self.weight.view(1, -1, 1, 1))


class StandardisedConv(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(images, weight, self.bias)


class PaddedConv(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(images, (0, 1, 0, 1)))


class ConvThenReLU(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).relu()


class BiaslessConv(nn.Conv2d):
    """Has no use for a bias, if it gets one."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.conv2d(images, self.weight)


def statistics(model: nn.Module) -> nn.Module:
    """Batch norms that have something to fold, in evaluation mode and double precision."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.running_mean, module.weight, module.bias):
                if tensor is not None:
                    tensor.data.normal_(0.3, 1, generator=generator)
            if module.running_var is not None:
                module.running_var.uniform_(0.1, 2, generator=generator)
    return model.double().eval()


@pytest.mark.parametrize(
    ("layer", "norm", "left"),
    [
        (nn.Conv2d(4, 8, 3), NormThenReLU(8), 1),
        (nn.Conv2d(4, 8, 3), NormThenClip(8), 1),
        (nn.Conv2d(4, 8, 3), NormOfItsOwnWriting(8), 0),
        (nn.Conv2d(4, 8, 3), NormWithAnotherEpsilon(8), 1),
        (nn.Conv2d(4, 8, 3), OneMoreThanItsScale(8), 1),
        (nn.Conv2d(4, 8, 3), nn.SyncBatchNorm(8), 0),
        (nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, momentum=None), 0),
        (nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, affine=False), 0),
        (nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), 1),
        (nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8), 0),
        (StandardisedConv(4, 8, 3), nn.BatchNorm2d(8), 1),
        (PaddedConv(4, 8, 3), nn.BatchNorm2d(8), 0),
        (ConvThenReLU(4, 8, 3), nn.BatchNorm2d(8), 1),
        (BiaslessConv(4, 8, 3, bias=False), nn.BatchNorm2d(8), 1),
        (nn.ConvTranspose2d(4, 8, 3), nn.BatchNorm2d(8), 1),
        (parametrizations.spectral_norm(nn.Conv2d(4, 8, 3)), nn.BatchNorm2d(8), 0),
        (parametrizations.weight_norm(nn.Conv2d(4, 8, 3)), nn.BatchNorm2d(8), 0),
        (nn.utils.spectral_norm(nn.Conv2d(4, 8, 3)), nn.BatchNorm2d(8), 0),
        (prune.l1_unstructured(nn.Conv2d(4, 8, 3), "weight", 0.4), nn.BatchNorm2d(8), 0),
        (prune.random_unstructured(nn.Conv2d(4, 8, 3), "bias", 0.4), nn.BatchNorm2d(8), 0),
    ],
)  # fmt: skip
def test_only_what_is_proven_is_folded(layer: nn.Module, norm: nn.Module, left: int) -> None:
    model = statistics(nn.Sequential(layer, norm))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        expected = model(IMAGES)
    own = of_deployed(model)
    kept = sum(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in own.modules())
    assert kept == left
    torch.testing.assert_close(own(IMAGES), expected)
    # A copy of a parametrized layer shares its class: the model itself must be as it was.
    torch.testing.assert_close(model(IMAGES), expected)
    torch.testing.assert_close(dict(model.state_dict()), before)


@pytest.mark.parametrize("when", ["before the norm", "after the layer", "after the norm"])
def test_what_is_hooked_in_keeps_its_effect(when: str) -> None:
    model = statistics(nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)))
    if when == "before the norm":
        model[1].register_forward_pre_hook(lambda _, args: (args[0] * 2,))
    else:
        hooked = model[0] if when == "after the layer" else model[1]
        hooked.register_forward_hook(lambda *call: call[2].relu())
    own = of_deployed(model)
    assert norms_in(own) == 1
    torch.testing.assert_close(own(IMAGES), model(IMAGES))


class ManyNames(nn.Module):
    """A norm with three names, and one that is called by a name that torch doesn't know."""

    def __init__(self) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.first = nn.Sequential(nn.Conv2d(4, 4, 1), self.first_norm)
        self.again = self.first
        self.second = nn.Conv2d(4, 4, 1)
        self.norms = [self.first_norm, self.second_norm]

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.norms[1](self.second(self.again(images)))
        return out


def test_a_norm_is_folded_whatever_it_is_called() -> None:
    model = statistics(ManyNames())
    own = of_deployed(model)
    assert norms_in(own) == 0
    torch.testing.assert_close(own(IMAGES), model(IMAGES))


class Tokens(nn.Module):
    """A batch norm over tokens, of which there are as many as features."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(6)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.norm(self.layer(tokens))
        return out


class LinearOfItsOwn(nn.Linear):
    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.linear(tokens, self.weight, self.bias)


@pytest.mark.parametrize("kind", [nn.Linear, LinearOfItsOwn])
@pytest.mark.parametrize(("shape", "left"), [((5, 6), 0), ((5, 6, 6), 1)])
def test_the_channels_are_the_layers(
    kind: type[nn.Linear], shape: tuple[int, ...], left: int
) -> None:
    model = statistics(Tokens(kind(6, 6)))
    tokens = torch.randn(shape, dtype=torch.double)
    own = of_deployed(model, tokens)
    assert sum(isinstance(each, nn.BatchNorm1d) for each in own.modules()) == left
    torch.testing.assert_close(own(tokens), model(tokens))
