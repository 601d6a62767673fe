"""What reads removed channels makes do at once with those that are left.

A removed channel is nearly a mixture of others, often. The best one, by least squares over training
samples, goes into the weights that read these. Kim et al., "Neuron Merging: Compensating for Pruned
Neurons" (2020), section 3, fold a mixture into the next layer in this way, but find it in the
weights; least squares over samples are those of He et al., "Channel Pruning for Accelerating Very
Deep Neural Networks" (2017), section 3.1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.pytorch.channels.compact import CompactModel, first_names, tensors_of
from accaware.pytorch.channels.layout import (
    KeptIndices,
    KeptMasks,
    Layout,
    scatter_into,
    slice_dense,
)
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.compression.calibration import Preparation
from accaware.pytorch.data.evaluation import evaluating, first_samples
from accaware.pytorch.distributed.agreement import agreed
from accaware.pytorch.model.layers import CONVOLUTIONS, TRANSPOSED

_RIDGE = 0.1
"""Added to the variance of each channel that is kept, as a share of their mean variance.

So much that a mixture is rather too weak than made of large shares that cancel each other out: what
is kept isn't as it was either, in the layers behind the first.
"""

_MOST_INPUTS = 4096
"""Of a layer; its covariances are that number squared. One that has more is left alone."""


class Reconstruction:
    """Corrects the layers that read channels, where some of these are removed.

    With the inputs' covariances C, a removed one p is approximated by the kept ones k:
    W_k += W_p C_pk (C_kk + ridge)^-1 at each position of a kernel, and what the means are off by
    goes into the bias. Where there is none, a batch norm that is adapted afterwards does the same.
    At a border that is padded with zeros the bias is that of the inner positions.

    All corrections are remembered, so that none is left in a model that has all its channels.
    As a preparation it measures what these layers read, on the network before the cut.

    Args:
        compact: the model and its channels; nothing is removed yet.
        batches: a data loader of training data.
        samples: how many to use each time.
    """

    activity = "least-squares reconstruction"
    for_average = False

    def __init__(self, compact: CompactModel, batches: Iterable[Any], samples: int) -> None:
        self._compact = compact
        self._readers = _readers(compact)
        self._batches = batches
        self.samples = samples
        self.after_batch: Callable[[int], None] = lambda done: None
        self.measurement: Preparation = self
        """This, or who watches it."""
        self._corrections: dict[str, Tensor] = {}
        self._key = Key()

    def set_layout(self, layout: Layout, optimizers: Iterable[Optimizer]) -> None:
        """In place of the compact model's own.

        Where channels do nothing but come back, those that are still removed are so from the whole
        model, whose weights are what they would be without corrections.
        """
        compact = self._compact
        if layout == compact.layout:
            return
        pairs = zip(compact.layout.kept, layout.kept, strict=True)
        if not any((had & ~has).any() for had, has in pairs):
            compact.set_layout(Layout.dense(compact.groups), optimizers)
            self._undo()
            if layout == compact.layout:
                return
        model, before = compact.model, compact.kept_masks
        self.measurement.prepare(model, next(model.parameters()).device)
        compact.set_layout(layout, optimizers)
        mixtures = agreed([reader.mixture(before, compact.kept_masks) for reader in self._readers])
        dense = compact.dense_tensors()
        for reader, mixture in zip(self._readers, mixtures, strict=True):
            if mixture is not None:
                self._correct(reader, mixture, dense[reader.weight])
        self._key = Key()

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """Measure the inputs of the layers that read channels. Nothing of the model changes."""
        with evaluating(model), ExitStack() as hooks:
            for reader in self._readers:
                reader.forget()
                handle = reader.module.register_forward_pre_hook(reader.see, with_kwargs=True)
                hooks.callback(handle.remove)
            samples = first_samples(self._batches, self.samples, model, device, self.after_batch)
            for inputs, _ in samples:
                inputs.call(model)

    def state_dict(self) -> Shared:
        """All corrections; between two cuts they are the same."""
        return Shared("reconstruction", dict(self._corrections), self._key)

    def load_state_dict(self, state: Shared | None) -> None:
        """Go on from the corrections of ``state_dict``; None for a model that has none."""
        self._corrections = {} if state is None else dict(state.content)
        self._key = Key() if state is None else state.key

    @torch.no_grad()
    def _correct(self, reader: _Reader, mixture: _Mixture, dense: Tensor) -> None:
        """Let a layer's weight and bias make up for what went of its ``dense`` weight."""
        outputs = self._keep(reader.weight).get(1 - reader.dim)
        keep = {reader.dim: mixture.gone} | ({} if outputs is None else {1 - reader.dim: outputs})
        # (filters, ..., gone)
        lost = slice_dense(dense, keep).cpu().double().movedim(reader.dim, -1)
        self._add(reader.weight, (lost @ mixture.shares).movedim(-1, reader.dim))
        if reader.bias is not None:
            offsets = (lost @ mixture.missing).reshape(len(lost), -1).sum(dim=1)
            # So many positions of a transposed kernel meet at an output, in the mean.
            meet = math.prod(reader.module.stride) if isinstance(reader.module, TRANSPOSED) else 1
            self._add(reader.bias, offsets / meet)

    def _add(self, name: str, values: Tensor) -> None:
        live = tensors_of(self._compact.model)[name]
        live.data.add_(values.to(live))
        # What is removed keeps the values that it had.
        correction = torch.zeros(self._compact.dense_shapes()[name])
        scatter_into(correction, values.to(correction), self._keep(name))
        # A state that somebody holds has the old tensor.
        self._corrections[name] = self._corrections.get(name, 0) + correction

    def _undo(self) -> None:
        """Take all corrections back; the model is dense."""
        live = tensors_of(self._compact.model)
        for name, correction in self._corrections.items():
            live[name].data.sub_(correction.to(live[name]))
        self._corrections = {}
        self._key = Key()

    def _keep(self, name: str) -> KeptIndices:
        masks = self._compact.kept_masks.get(name, {})
        return {dim: kept.nonzero().flatten() for dim, kept in masks.items()}


@dataclass(frozen=True)
class _Mixture:
    """What the inputs that went are made of.

    Attributes:
        gone: (G,) their indices among a layer's dense inputs.
        shares: (G, K) of the K inputs that the layer has now.
        missing: (G,) what their means are more than those of the mixtures.
    """

    gone: Tensor
    shares: Tensor
    missing: Tensor


class _Reader:
    """A layer that reads channels which may be removed, and the moments of its inputs.

    Args:
        module: dense.
        weight: the weight's name in the model.
        bias: its bias's; None where it has none of its own.
    """

    def __init__(self, module: nn.Module, weight: str, bias: str | None) -> None:
        self.module = module
        self.weight = weight
        self.bias = bias
        self.dim = _input_dim(module)
        self._inputs = _inputs_of(module)
        self.forget()

    def forget(self) -> None:
        """Forget all inputs that were seen."""
        self._rows = 0
        self._sums: Any = 0
        self._products: Any = 0

    def see(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Count a batch in, before the layer is called with it.

        Each position of a sample is a row of all input channels.
        """
        inputs: Tensor = (*args, *kwargs.values())[0]
        weight: Any = module.weight
        channels = -1 if isinstance(module, nn.Linear) else 1 - weight.dim()
        rows = inputs.movedim(channels, -1).reshape(-1, inputs.shape[channels]).float()
        means = rows.mean(dim=0)
        # Not every device has double precision, and far from 0 single precision needs the mean.
        centred = rows - means
        means, products = means.cpu().double(), (centred.T @ centred).cpu().double()
        self._rows += len(rows)
        self._sums = self._sums + len(rows) * means
        self._products = self._products + products + len(rows) * torch.outer(means, means)

    def mixture(self, before: KeptMasks, after: KeptMasks) -> _Mixture | None:
        """What makes up for the inputs that went; seen were those that ``before`` keeps.

        Returns:
            None where none went, or nothing was seen that one can count with.
        """
        everything = torch.ones(self._inputs, dtype=torch.bool)
        had, has = (
            masks.get(self.weight, {}).get(self.dim, everything) for masks in (before, after)
        )
        stays = has[had]
        if stays.all() or not stays.any() or not self._rows:
            return None
        means = self._sums / self._rows
        covariances = self._products / self._rows - torch.outer(means, means)
        among, across = covariances[stays][:, stays], covariances[~stays][:, stays]
        ridge = _RIDGE * among.diagonal().mean()
        if not covariances.isfinite().all() or ridge <= 0:
            return None
        among.diagonal().add_(ridge)
        # Inputs that came back have no share.
        shares = across.new_zeros(len(across), int(has.sum()))
        shares[:, had[has]] = torch.linalg.solve(among, across.T).T
        missing = means[~stays] - shares[:, had[has]] @ means[stays]
        return _Mixture((had & ~has).nonzero().flatten(), shares, missing)


def _readers(compact: CompactModel) -> list[_Reader]:
    """Layers with one group and a weight of their own."""
    names = first_names(compact.model)
    owners = Counter(names.values())
    reads = {slot.tensor for group in compact.groups for slot in group.slots if not slot.produces}
    readers = []
    for path, module in compact.model.named_modules():
        if not isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)):
            continue
        weight, bias = (names.get(f"{path}.{key}".removeprefix(".")) for key in ("weight", "bias"))
        if weight not in reads or owners[weight] > 1 or getattr(module, "groups", 1) > 1:
            continue
        if _inputs_of(module) <= _MOST_INPUTS:
            own = bias is not None and owners[bias] == 1
            readers.append(_Reader(module, weight, bias if own else None))
    return readers


def _input_dim(module: nn.Module) -> int:
    """The dimension of its weight along which the channels lie that it reads."""
    return 0 if isinstance(module, TRANSPOSED) else 1


def _inputs_of(module: nn.Module) -> int:
    weight: Any = module.weight
    return int(weight.shape[_input_dim(module)])
