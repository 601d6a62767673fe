"""Every architecture of segmentation-models-pytorch, on small encoders of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import segmentation_models_pytorch as smp

from library_coverage.candidate import Candidate, images

_ENCODERS = ("resnet18", "mobilenet_v2", "timm-mobilenetv3_small_100")
_OTHER_ENCODERS = ("efficientnet-b0", "mit_b0", "densenet121", "mobileone_s0", "vgg11_bn", "dpn68")
_TRANSFORMER = "tu-vit_tiny_patch16_224"
_SIDES = {"dpt": 224, "pan": 128}
_SIDE = 64


class Segmentation:
    """Names are ``architecture/encoder``."""

    def names(self) -> Sequence[str]:
        kinds = [kind for kind in smp.MODEL_ARCHITECTURES_MAPPING if kind != "dpt"]
        each = [f"{kind}/{encoder}" for kind in kinds for encoder in _ENCODERS[:2]]
        return [*each, *(f"unet/{encoder}" for encoder in (_ENCODERS[2], *_OTHER_ENCODERS)),
                f"dpt/{_TRANSFORMER}"]  # fmt: skip

    def candidate(self, name: str) -> Candidate:
        kind, encoder = name.split("/")
        side = _SIDES.get(kind, _SIDE)
        make = partial(smp.create_model, kind, encoder, encoder_weights=None, classes=5)
        larger = None if kind == "dpt" else images(side + 32)
        return Candidate(make, images(side), larger)
