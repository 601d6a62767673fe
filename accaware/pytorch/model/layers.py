"""Kinds of layers and their modes, and the numbers that layers keep about their own tensors."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from accaware.pytorch.model.registered import registration_of


class Mode(Enum):
    """What a model's own forwards do: as in training, or as in evaluation.

    Layers evaluate in both, so that batch norm, dropout and stochastic depth are deterministic;
    what differs is the containers' business, such as auxiliary heads.
    """

    TRAINING = "training"
    EVALUATION = "evaluation"

    def set(self, model: nn.Module) -> None:
        """Put the model into this mode; layers without children evaluate in both."""
        drop_caches(model)
        for module in model.modules():
            contains = any(True for _ in module.children())
            module.training = self is Mode.TRAINING and contains


def drop_caches(model: nn.Module) -> None:
    """Have modules drop what they made of their tensors for evaluation; all modes stay.

    Some look up a bias by position once (timm's LeViT): a ``train`` of their own drops it.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    for module, training in modes:
        module.training = training


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PRODUCERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
"""Layers that multiply what they are given with their weight."""
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
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


def why_computed(module: nn.Module, name: str = "weight") -> str | None:
    """Why a module's tensor is no parameter of its own, with the remedy; None where it is one."""
    if parametrize.is_parametrized(module, name):
        parametrizations = module.parametrizations[name]  # type: ignore[index]
        kinds = ", ".join(type(each).__name__.lstrip("_") for each in parametrizations)
        return (
            f"its {name} is parametrized ({kinds}): torch.nn.utils.parametrize."
            f'remove_parametrizations(layer, "{name}") makes it an ordinary one'
        )
    second = "" if name == "weight" else f', "{name}"'
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            remedy = f"torch.nn.utils.remove_weight_norm(layer{second})"
        elif isinstance(hook, SpectralNorm) and hook.name == name:
            remedy = f"torch.nn.utils.remove_spectral_norm(layer{second})"
        elif isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == name:
            remedy = f'torch.nn.utils.prune.remove(layer, "{name}")'
        else:
            continue
        kind = type(hook).__name__
        return f"its {name} is computed by a hook ({kind}): {remedy} makes it an ordinary one"
    if module._parameters.get(name) is None:
        return f"its {name} is computed from other parameters"
    return None


def weight_shape(module: nn.Module) -> torch.Size:
    """Of a convolution or a linear layer, by its own numbers: its weight may be computed."""
    if isinstance(module, nn.Linear):
        return torch.Size((module.out_features, module.in_features))
    assert isinstance(module, (*CONVOLUTIONS, *TRANSPOSED))
    made, read = module.out_channels, module.in_channels
    if isinstance(module, TRANSPOSED):
        return torch.Size((read, made // module.groups, *module.kernel_size))
    return torch.Size((made, read // module.groups, *module.kernel_size))


def weight_origin(module: nn.Module) -> str | None:
    """The parameter that a layer's weight is, or is computed from, by its name in the module.

    None where a mask is laid over it (torch.nn.utils.prune), and where there is none.
    """
    if module._parameters.get("weight") is not None:
        return "weight"
    if parametrize.is_parametrized(module, "weight"):
        parametrizations: nn.Module = module.parametrizations["weight"]  # type: ignore[index, assignment]
        originals = dict(parametrizations.named_parameters(recurse=False))
        # Of several, as of weight norm, the largest has the weight's shape.
        largest = max(originals, key=lambda name: originals[name].numel())
        return f"parametrizations.weight.{largest}"
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm) and hook.name == "weight":
            return "weight_v" if isinstance(hook, WeightNorm) else "weight_orig"
    return None


def tensor_computed_from(module: nn.Module, parameter: str) -> str | None:
    """The tensor of a module that a hook computes from one of its parameters; None if none is."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):
            name = hook.name
        elif isinstance(hook, prune.BasePruningMethod):
            name = hook._tensor_name
        else:
            continue
        if parameter in (f"{name}_v", f"{name}_g", f"{name}_orig"):
            return name
    return None


def rows_per_group(module: nn.Module) -> int | None:
    """Along the first dimension of its weight, how long each group of a grouped layer is.

    Of a grouped convolution, or of a group norm. To be asked while the layer is dense: with one
    group left it looks like any other. None for every other layer.
    """
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)) and module.groups > 1:
        # Not by the weight, which may be computed anew whenever somebody asks for it.
        transposed = isinstance(module, TRANSPOSED)
        return (module.in_channels if transposed else module.out_channels) // module.groups
    if isinstance(module, nn.GroupNorm):
        return module.num_channels // module.num_groups
    return None


def count_of(module: nn.Module) -> str | None:
    """The attribute in which a norm without tensors counts its channels; None for others."""
    if any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
        return None
    if isinstance(module, PER_CHANNEL_NORMS):
        return "num_features"
    return "num_channels" if isinstance(module, nn.GroupNorm) else None


def update_sizes(module: nn.Module, per_group: int | None, count: int | None = None) -> None:
    """Make a layer's own numbers (``out_channels`` and the like) agree with its tensors.

    Args:
        per_group: what rows_per_group said.
        count: how many channels there are, for a layer that has no tensors (see count_of).
    """
    registration = registration_of(module)
    if registration is not None and registration.resize is not None:
        registration.resize(module)
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        first, second = _weight_of(module).shape[:2]
        if per_group is not None:
            module.groups = first // per_group
        if isinstance(module, TRANSPOSED):
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.in_channels, module.out_channels = second * module.groups, first
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = _weight_of(module).shape
    elif isinstance(module, PER_CHANNEL_NORMS):
        tensor = module.weight if module.weight is not None else module.running_mean
        module.num_features = count if tensor is None else tensor.shape[0]
    elif isinstance(module, nn.GroupNorm):
        channels = count if module.weight is None else module.weight.shape[0]
        assert channels is not None
        assert per_group is not None
        module.num_channels, module.num_groups = channels, channels // per_group
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif isinstance(module, EMBEDDINGS):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.RNNCellBase):
        module.hidden_size, module.input_size = module.weight_hh.shape[1], module.weight_ih.shape[1]
    elif isinstance(module, nn.RNNBase):
        of_first = module.all_weights[0]
        module.input_size, module.hidden_size = of_first[0].shape[1], of_first[1].shape[1]
        if module.proj_size:
            module.proj_size, module.hidden_size = of_first[-1].shape
        module.flatten_parameters()  # cuDNN wants them in one piece


def _weight_of(module: nn.Module) -> Tensor:
    """What has the weight's shape; a computed one may be computed anew by whoever asks for it."""
    origin = weight_origin(module)
    weight: Tensor = module.weight if origin is None else module.get_parameter(origin)  # type: ignore[assignment]
    return weight
