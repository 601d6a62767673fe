"""The digits' small network, quantized alone or beside another algorithm."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.pytorch.training.scripts import EXAMPLE, adaptive, early_exit
from tests.runners.torch_case import BATCH, TRAINING_IMAGES, TinyNet, digits, trained_model

QUANTIZATION: dict[str, Any] = {"algorithm": "quantization"}


def batches() -> list[tuple[Tensor, Tensor]]:
    """The training images in batches."""
    images, classes = (part[:TRAINING_IMAGES] for part in digits())
    return list(zip(images.split(BATCH), classes.split(BATCH), strict=True))


def quantized(*beside: dict[str, Any], **section: Any) -> tuple[PTCompressionController, TinyNet]:
    """A controller and the trained network; ``section`` has keys of the quantization."""
    model = trained_model()
    mix = [*beside, {**QUANTIZATION, **section}]
    config = adaptive(mix) if beside else early_exit(mix)
    controller, _ = create_compressed_model(model, config, EXAMPLE, batches())
    return controller, model


def quantize(controller: PTCompressionController) -> None:
    """Make quantization alone active."""
    controller.compression_rate = controller.maximal_compression_rate
