"""What reads removed channels learns at once to make do with those that are left.

A removed channel is nearly a mixture of others, often. The best one, by least squares over training
samples, goes into the weights that read these. Kim et al., "Neuron Merging: Compensating for Pruned
Neurons" (2020), section 3, fold a mixture into the next layer in this way, but find it in the
weights; least squares over samples are those of He et al., "Channel Pruning for Accelerating Very
Deep Neural Networks" (2017), section 3.1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.pytorch.channels.compact import CompactModel, first_names
from accaware.pytorch.channels.layout import KeptMasks, Layout, scatter_into, slice_dense
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.compression.calibration import Preparation
from accaware.pytorch.data.batches import inputs_of, to_device
from accaware.pytorch.data.loaders import begun
from accaware.pytorch.distributed.agreement import agreed
from accaware.pytorch.model.inputs import batch_size_of
from accaware.pytorch.model.layers import CONVOLUTIONS, TRANSPOSED
from accaware.pytorch.model.wrappers import eagerly

_RIDGE = 0.1
"""Added to the variance of each channel that is kept, as a share of their mean variance.

So much that a mixture is rather too weak than made of large shares that cancel each other out: what
is kept isn't as it was either, in the layers behind the first.
"""

_MOST_INPUTS = 4096
"""Of a layer; its covariance matrix has that size squared. One that has more is left alone."""


class Reconstruction:
    """Corrects the layers that read channels, where some of these are removed.

    With the channels' covariances C, a removed one p is approximated by the kept ones k:
    W_k += W_p C_pk (C_kk + ridge)^-1 at each position of a kernel, and what the means are off by
    goes into the bias. Where there is none, a batch norm that is adapted afterwards does the same.
    At a border that is padded with zeros the bias is that of the inner positions.

    All corrections are remembered, so that none is left in a model that has all its channels.

    Args:
        compact: the model and its channels; nothing is removed yet.
        batches: a data loader of training data.
        samples: how many to use each time.
    """

    def __init__(self, compact: CompactModel, batches: Iterable[Any], samples: int) -> None:
        self._compact = compact
        self._readers = _readers(compact)
        self._key = Key()
        self.measurement: Preparation = _Measurement(self._readers, batches, samples)
        """Done on the model as it is before a cut."""

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
            for reader in self._readers:
                reader.undo()
            self._key = Key()
            if layout == compact.layout:
                return
        model, before = compact.model, compact.kept_masks
        self.measurement.prepare(model, next(model.parameters()).device)
        compact.set_layout(layout, optimizers)
        dense, after = compact.dense_tensors(), compact.kept_masks
        mixtures = agreed([reader.mixture(before, after) for reader in self._readers])
        for reader, mixture in zip(self._readers, mixtures, strict=True):
            reader.forget()
            if mixture is not None:
                reader.correct(mixture, dense[reader.name], before, after)
        self._key = Key()

    def state_dict(self) -> Shared:
        """All corrections; between two cuts they are the same."""
        corrections = [
            (f"{reader.name} {part}", tensor)
            for reader in self._readers
            for part, tensor in reader.corrections.items()
        ]
        return Shared("reconstruction", dict(corrections), self._key)

    def load_state_dict(self, state: Shared) -> None:
        """Go on from the corrections of ``state_dict``."""
        self._key = state.key
        for reader in self._readers:
            for part in reader.corrections:
                reader.corrections[part] = state.content[f"{reader.name} {part}"]


class _Reader:
    """A layer that reads channels which may be removed, and what is known of its inputs.

    Args:
        module: dense.
        name: of its weight in the model.
        has_bias: whether it has a bias that is its own.
    """

    def __init__(self, module: nn.Module, name: str, *, has_bias: bool) -> None:
        self.module = module
        self.name = name
        self._dim = _input_dim(module)
        parts = ["weight", "bias"] if has_bias else ["weight"]
        self.corrections = {
            part: torch.zeros_like(getattr(module, part), device="cpu", requires_grad=False)
            for part in parts
        }
        """Of the dense weight and bias: what was added to them."""
        weight: Any = module.weight
        self._sizes: Sequence[int] = weight.shape[:2]
        self.forget()

    def forget(self) -> None:
        """All inputs that were seen."""
        self.calls = 0
        self._rows = 0
        self._near_mean: Any = None
        self._sums: Any = 0
        self._products: Any = 0

    def see(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Count a batch in, before the layer is called with it.

        Each position of a sample is a row of all input channels.
        """
        inputs: Tensor = (*args, *kwargs.values())[0]
        weight: Any = module.weight
        channels = -1 if isinstance(module, nn.Linear) else 1 - weight.dim()
        rows = inputs.movedim(channels, -1).flatten(end_dim=-2).float()
        if self._near_mean is None:
            # Far from 0 little would be left of the variance, in single precision.
            self._near_mean = rows.mean(dim=0)
        rows = rows - self._near_mean
        self.calls += 1
        self._rows += len(rows)
        # Not every device has double precision.
        self._sums = self._sums + rows.sum(dim=0).cpu().double()
        self._products = self._products + (rows.T @ rows).cpu().double()

    def mixture(self, before: KeptMasks, after: KeptMasks) -> tuple[Tensor, Tensor] | None:
        """What the channels that went are made of.

        Args:
            before: what is kept of the network whose inputs were seen.
            after: what is kept of the one that it is now.

        Returns:
            (gone, kept) shares, and (gone,) what they lack of the means; None where none went, or
            the inputs were none that one can count with.
        """
        had, has = self._kept(before, self._dim), self._kept(after, self._dim)
        stays = has[had]
        if stays.all() or not stays.any() or not self._rows:
            return None
        shift = self._sums / self._rows
        means = self._near_mean.cpu().double() + shift
        covariances = self._products / self._rows - torch.outer(shift, shift)
        among, across = covariances[stays][:, stays], covariances[~stays][:, stays]
        ridge = _RIDGE * among.diagonal().mean()
        if not covariances.isfinite().all() or ridge <= 0:
            return None
        among.diagonal().add_(ridge)
        shares = torch.linalg.solve(among, across.T).T
        return shares, means[~stays] - shares @ means[stays]

    @torch.no_grad()
    def correct(
        self,
        mixture: tuple[Tensor, Tensor],
        dense: Tensor,
        before: KeptMasks,
        after: KeptMasks,
    ) -> None:
        """Let weight and bias make up for the channels that went.

        Args:
            dense: the dense form of its weight; of what was removed it has the last values.
        """
        shares, missing = mixture
        had, has = self._kept(before, self._dim), self._kept(after, self._dim)
        # (filters, ..., channels)
        lost = dense.cpu().double().movedim(self._dim, -1)[..., had & ~has]
        added = torch.zeros_like(self.corrections["weight"]).movedim(self._dim, -1)
        added[..., had & has] = (lost @ shares).to(added)
        self._add("weight", added.movedim(-1, self._dim), after)
        if "bias" in self.corrections:
            offsets = (lost @ missing).reshape(len(lost), -1).sum(dim=1)
            if isinstance(self.module, TRANSPOSED):
                # So many positions of the kernel meet at an output, in the mean.
                offsets = offsets / math.prod(self.module.stride)
            self._add("bias", offsets.to(self.corrections["bias"]), after)

    @torch.no_grad()
    def undo(self) -> None:
        """Take all corrections back; the layer is dense."""
        for part, correction in self.corrections.items():
            live = getattr(self.module, part)
            live.data.sub_(correction.to(live))
            self.corrections[part] = torch.zeros_like(correction)

    def _add(self, part: str, dense: Tensor, after: KeptMasks) -> None:
        own = 1 - self._dim
        dims = {0: own} if part == "bias" else {0: 0, 1: 1}
        keep = {dim: self._kept(after, of).nonzero().flatten() for dim, of in dims.items()}
        live, part_of_it = getattr(self.module, part), slice_dense(dense, keep)
        live.data.add_(part_of_it.to(live))
        # What is removed keeps the values that it had.
        scatter_into(correction := torch.zeros_like(dense), part_of_it, keep)
        # A state that somebody holds has the old tensor.
        self.corrections[part] = self.corrections[part] + correction

    def _kept(self, masks: KeptMasks, dim: int) -> Tensor:
        kept = masks.get(self.name, {}).get(dim)
        return torch.ones(self._sizes[dim], dtype=torch.bool) if kept is None else kept


class _Measurement:
    """Shows the model to its readers, as it is before a cut."""

    activity = "least-squares reconstruction"
    for_average = False

    def __init__(self, readers: Sequence[_Reader], batches: Iterable[Any], samples: int) -> None:
        self._readers = readers
        self._batches = batches
        self.samples = samples
        self.after_batch: Callable[[int], None] = lambda done: None

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """Measure the inputs of the readers anew. Nothing of the model changes."""
        modes = {module: module.training for module in model.modules()}
        model.eval()
        seen = batches = 0
        try:
            with torch.no_grad(), eagerly(), ExitStack() as hooks:
                for reader in self._readers:
                    reader.forget()
                    handle = reader.module.register_forward_pre_hook(reader.see, with_kwargs=True)
                    hooks.callback(handle.remove)
                for batch in begun(self._batches):
                    inputs_of(to_device(batch, device), model).call(model)
                    batches += 1
                    seen += batch_size_of(batch)
                    self.after_batch(min(seen, self.samples))
                    if seen >= self.samples:
                        break
        finally:
            for module, training in modes.items():
                module.training = training
        for reader in self._readers:
            if reader.calls != batches:
                reader.forget()


def _readers(compact: CompactModel) -> list[_Reader]:
    """Layers with one group and a weight of their own.

    One that is called several times for a batch has inputs of several kinds, and is left alone
    when that is seen.
    """
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
        if module.weight.shape[_input_dim(module)] <= _MOST_INPUTS:
            readers.append(_Reader(module, weight, has_bias=bias is not None and owners[bias] == 1))
    return readers


def _input_dim(module: nn.Module) -> int:
    """The dimension of its weight along which the channels lie that it reads."""
    return 0 if isinstance(module, TRANSPOSED) else 1
