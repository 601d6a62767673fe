"""Weights that are computed at each forward: a deployed model has their values."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def store_computed_weights(model: nn.Module) -> None:
    """Put a plain parameter in the place of each tensor that is computed from others.

    That is what torch.nn.utils.parametrize, the older weight_norm and spectral_norm, and
    torch.nn.utils.prune do to a module.

    Args:
        model: in evaluation mode; changed in place.
    """
    for module in model.modules():
        if parametrize.is_parametrized(module):
            _store_parametrized(module)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]


def _store_parametrized(module: nn.Module) -> None:
    """Do what parametrize.remove_parametrizations does, and leave the module's class alone.

    That also takes the tensors' names off the class, which the module shares with its copies.
    """
    parametrizations = module.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    values = {name: getattr(module, name).detach().clone() for name in parametrizations}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value, requires_grad=False))
