"""Networks of MONAI, for volumes and for slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.networks import nets

from accaware.pytorch.model.inputs import ExampleInputs
from library_coverage.candidate import Candidate, noise

_VOLUME = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
_SLICE = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_CHANNELS = {"channels": (8, 16, 32), "strides": (2, 2)}
_KERNELS = {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2)}

_NETWORKS: dict[str, tuple[Callable[[], Any], int, int]] = {
    # Its maker, the dimensions of an image, pixels a side.
    "unet": (lambda: nets.UNet(**_VOLUME, **_CHANNELS, num_res_units=2), 3, 32),
    "unet 2d": (lambda: nets.UNet(**_SLICE, **_CHANNELS, norm="batch"), 2, 32),
    "basic unet": (lambda: nets.BasicUNet(**_VOLUME, features=(8, 8, 16, 32, 32, 8)), 3, 32),
    "basic unet++": (
        lambda: nets.BasicUNetPlusPlus(**_VOLUME, features=(8, 8, 16, 32, 32, 8)),
        3,
        32,
    ),
    "attention unet": (lambda: nets.AttentionUnet(**_VOLUME, **_CHANNELS), 3, 32),
    "segresnet": (lambda: nets.SegResNet(**_VOLUME, init_filters=8), 3, 32),
    "segresnet ds": (lambda: nets.SegResNetDS(**_VOLUME, init_filters=8), 3, 32),
    "dynunet": (lambda: nets.DynUNet(**_VOLUME, **_KERNELS, filters=(8, 16, 32)), 3, 32),
    "vnet": (lambda: nets.VNet(spatial_dims=3, in_channels=1, out_channels=2), 3, 32),
    "highresnet": (lambda: nets.HighResNet(**_VOLUME), 3, 16),
    "unetr": (
        lambda: nets.UNETR(
            1, 2, img_size=32, feature_size=8, hidden_size=48, mlp_dim=96, num_heads=4
        ),
        3,
        32,
    ),
    "swin unetr": (lambda: nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2), 2, 64),
    "vit": (
        lambda: nets.ViT(
            1, 32, 16, hidden_size=48, mlp_dim=96, num_layers=2, num_heads=4, classification=True
        ),
        3,
        32,
    ),
    "densenet121": (lambda: nets.DenseNet121(**_SLICE), 2, 64),
    "resnet10": (lambda: nets.resnet10(spatial_dims=3, n_input_channels=1, num_classes=2), 3, 32),
    "senet154": (lambda: nets.SENet154(spatial_dims=2, in_channels=1, num_classes=2), 2, 64),
    "efficientnet-b0": (
        lambda: nets.EfficientNetBN(
            "efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=1, num_classes=2
        ),
        2,
        64,
    ),
    "autoencoder": (
        lambda: nets.AutoEncoder(**_SLICE, **{**_CHANNELS, "strides": (2, 2, 2)}),
        2,
        32,
    ),
}


class Monai:
    """The networks above."""

    def names(self) -> Sequence[str]:
        return list(_NETWORKS)

    def candidate(self, name: str) -> Candidate:
        make, dimensions, side = _NETWORKS[name]
        small, larger = (
            ExampleInputs.of(noise(2, 1, *[each] * dimensions)) for each in (side, side + 16)
        )
        return Candidate(make, small, larger)
