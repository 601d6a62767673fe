"""The masked reference: the dense network, its removed channels held at zero.

Written from what layers do, not from what accaware knows of them: of a compressed model it
takes which filters (outputs of a layer) are gone, and nothing about who reads them. The readers
of the reference are dense and read zeros. Where a function on the way makes something of zeros (a
sigmoid), it is the readers' weights for these channels that are held at zero instead.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tests.pytorch.channels.attentions import Matrix

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.Embedding,
    nn.PReLU,
    nn.LayerNorm,
    nn.GroupNorm,
    torchvision.ops.DeformConv2d,
    nn.RNNBase,
    nn.RNNCellBase,
    *TRANSPOSED,
    *NORMS,
)
Kept = Mapping[str, Mapping[int, Tensor]]


class Masked:
    """A dense copy of a model without what ``kept`` says that its layers no longer make.

    Args:
        dense: a dense model of the same architecture; it is copied.
        state: the dense values.
        kept: tensor name -> dimension -> mask of the kept positions.
        unread: whether what is gone is made as before and read by nobody, for functions on the
            way that make something of zeros; otherwise it is zero, and read.
    """

    def __init__(
        self,
        dense: nn.Module,
        state: Mapping[str, Tensor],
        kept: Kept,
        *,
        unread: bool = False,
    ) -> None:
        self.model = copy.deepcopy(dense)
        self.model.load_state_dict(state)
        self.kept = kept
        self.unread = unread
        for name, module in self.model.named_modules():
            prefix = f"{name}." if name else ""
            for own, parameter in module.named_parameters(recurse=False):
                mask = self._mask(module, f"{prefix}{own}", parameter)
                if mask is not None:
                    with torch.no_grad():
                        parameter.mul_(mask)
                    if parameter.requires_grad:
                        parameter.register_hook(lambda grad, mask=mask: grad * mask)
            if not unread and isinstance(module, NORMS) and module.running_mean is not None:
                gone = kept.get(f"{prefix}running_mean", {}).get(0)
                if gone is not None:
                    module.running_mean.mul_(gone)

    def _mask(self, module: nn.Module, name: str, tensor: Tensor) -> Tensor | None:
        """Ones and zeros: what of a tensor may still make outputs, or read some."""
        masks = self.kept.get(name, {})
        if isinstance(module, TRANSPOSED):
            dim = 1 if module.groups == 1 and tensor.dim() > 1 else 0
        elif isinstance(module, (nn.Embedding, Matrix)) and tensor.dim() == 2:
            dim = 1
        elif isinstance(module, LAYERS):
            dim = 0
        else:  # a parameter of the user's own, such as a scale for each channel
            (dim, *_) = sorted(masks) or (None,)
        result = None
        for each in masks.keys() - {dim} if self.unread else masks.keys() & {dim}:
            shape = [1] * tensor.dim()
            shape[each] = -1
            mask = masks[each].reshape(shape).to(tensor.dtype)
            result = mask if result is None else result * mask
        return result

    def part(self, name: str, tensor: Tensor) -> Tensor:
        """What of a dense tensor the compact model has."""
        for dim, mask in self.kept.get(name, {}).items():
            tensor = tensor.index_select(dim, mask.nonzero().flatten())
        return tensor


def dense_state(model: nn.Module, dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A compressed model's state dict with its sliced tensors in dense form."""
    state = model.state_dict()
    for name in state:
        state[name] = dense.get(name, state[name]).clone()
    return state


def outputs_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """All output tensors."""
    leaves = pytree.tree_leaves(model(*inputs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def backward(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs, after the gradients of a loss that weighs each of their elements differently."""
    model.zero_grad()
    outputs = outputs_of(model, inputs)
    generator = torch.Generator().manual_seed(7)
    loss = torch.zeros((), dtype=outputs[0].dtype)
    for output in outputs:
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        loss = loss + (output * weights.to(output.dtype)).mean()
    loss.backward()
    return [output.detach() for output in outputs]


def assert_near(
    mine: Tensor, reference: Tensor, tolerance: float, what: str, *, least: float = 0.0
) -> None:
    """The difference's norm, relative to the reference's; below ``least`` that is rounding."""
    assert mine.shape == reference.shape, what
    scale = max(float(reference.norm()), least)
    difference = float((mine - reference).norm())
    assert difference <= tolerance * scale, f"{what}: off by {difference:.3g} at {scale:.3g}"


def assert_same_training(
    compact: nn.Module, masked: Masked, inputs: tuple[Tensor, ...], tolerance: float
) -> None:
    """Outputs in both modes, gradients of all that is kept, batch norm statistics.

    Gradients that are zero but for rounding (a bias before a batch norm) are measured against
    a small part of the whole model's gradient, all others against themselves.
    """
    compact.eval()
    masked.model.eval()
    with torch.no_grad():
        pairs = zip(outputs_of(compact, inputs), outputs_of(masked.model, inputs), strict=True)
        for number, (mine, reference) in enumerate(pairs):
            assert_near(mine, reference, tolerance, f"eval output {number}")
    compact.train()
    masked.model.train()
    pairs = zip(backward(compact, inputs), backward(masked.model, inputs), strict=True)
    for number, (mine, reference) in enumerate(pairs):
        assert_near(mine, reference, tolerance, f"train output {number}")
    assert_same_gradients(compact, masked, tolerance)
    for (name, mine), (_, dense) in zip(
        compact.named_buffers(), masked.model.named_buffers(), strict=True
    ):
        if mine.is_floating_point() and mine.numel():
            assert_near(mine, masked.part(name, dense), tolerance, name, least=0.01)


def assert_same_gradients(compact: nn.Module, masked: Masked, tolerance: float) -> None:
    references = dict(masked.model.named_parameters())
    gradients = {}
    for name, parameter in compact.named_parameters():
        dense = references[name].grad
        assert (parameter.grad is None) == (dense is None), name
        if parameter.grad is not None:
            reference = masked.part(name, dense)
            assert parameter.grad.shape == reference.shape == parameter.shape, name
            # What isn't kept has no gradient: filters by construction, readers as they read 0.
            assert torch.isclose(dense.square().sum(), reference.square().sum()), name
            gradients[name] = (parameter.grad, reference)
    assert gradients
    whole = max(float(reference.norm()) for _, reference in gradients.values())
    assert whole > 0
    for name, (mine, reference) in gradients.items():
        scale = max(float(reference.norm()), 1e-2 * whole)
        difference = float((mine - reference).norm())
        assert difference <= tolerance * scale, f"{name}: off by {difference:.3g} at {scale:.3g}"
