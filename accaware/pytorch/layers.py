"""Kinds of layers, and the numbers that they keep about their own tensors."""

from __future__ import annotations

from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PER_CHANNEL_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def is_depthwise(module: nn.Module) -> bool:
    """A convolution with one filter for each of its input channels."""
    return (
        isinstance(module, (*CONVOLUTIONS, *TRANSPOSED))
        and module.groups == module.in_channels == module.out_channels
        and module.groups > 1
    )


def rows_per_group(module: nn.Module) -> int | None:
    """How long each group of a grouped convolution is along its weight's first dimension.

    To be asked while the layer is dense: with one group left it looks like any other. None for
    every other layer.
    """
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)) and module.groups > 1:
        return int(module.weight.shape[0]) // module.groups
    return None


def update_sizes(module: nn.Module, per_group: int | None) -> None:
    """Make a layer's own numbers (``out_channels`` and the like) agree with its tensors.

    Args:
        per_group: what rows_per_group said.
    """
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        first, second = module.weight.shape[:2]
        if per_group is not None:
            module.groups = first // per_group
        if isinstance(module, TRANSPOSED):
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.in_channels, module.out_channels = second * module.groups, first
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, PER_CHANNEL_NORMS):
        tensor = module.weight if module.weight is not None else module.running_mean
        if tensor is not None:
            module.num_features = tensor.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
