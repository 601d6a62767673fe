"""A model that really lacks its removed channels, and remembers the dense one.

A filter whose output nobody reads contributes nothing and receives no gradient, so training
without it is the same computation at a smaller network's price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from accaware.errors import CheckpointError
from accaware.pytorch.channels.layout import (
    ChannelGroup,
    Keep,
    KeptIndices,
    KeptMasks,
    Layout,
    SlicePlan,
    laid_out_like,
    same_tensors,
    scatter_into,
    slice_again,
    slice_dense,
)
from accaware.pytorch.channels.numbers import module_numbers
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.channels.weight_norm import weight_norms
from accaware.pytorch.model.layers import (
    count_of,
    drop_caches,
    rows_per_group,
    update_sizes,
)


class CompactModel:
    """Slices a model's tensors in place to a layout, and back.

    The Parameter objects stay the same, so an optimizer or a closure that holds them stays
    valid; only their data changes shape. Every sliced tensor's dense form is kept once; it
    follows the model to another device or type at the next change of layout.

    Args:
        model: dense, as it came.
        groups: its coupled channels; a channel belongs to one group at most.
        own_copy: False lets the dense form share the model's memory until a layout changes it,
            for a model that nobody trains.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[ChannelGroup], *, own_copy: bool = True
    ) -> None:
        self.model = model
        self.groups = tuple(groups)
        live = tensors_of(model)
        self._dense_shapes = {name: tensor.shape for name, tensor in live.items()}
        self._modules = sized_modules(model)
        counts = {each.count: each.channels for each in self._modules if each.count}
        names = {slot.tensor for group in groups for slot in group.slots}
        self._numbers = module_numbers(model, sorted(names - live.keys() - counts.keys()))
        counts |= {number.name: number.dense for number in self._numbers}
        sizes = {name: torch.Size([channels]) for name, channels in counts.items()}
        self._sliceable = {**self._dense_shapes, **sizes}
        self._plan = SlicePlan(groups, self._sliceable)
        self._layout = Layout.dense(groups)
        self._masks = self._plan.masks(self._layout)
        self._keep = self._plan.keep(self._masks)
        sliced = {name for name in self._plan.tensors if name in live}
        self._norms = {norm.scale: norm for norm in weight_norms(model) if norm.direction in sliced}
        # A scale after its direction, by which it is brought up to date.
        self._dense = {
            name: live[name].detach().clone() if own_copy else live[name].detach()
            for name in (*sorted(sliced - self._norms.keys()), *self._norms)
        }
        self._key = Key()
        for scale in self._norms:
            self._keep.setdefault(scale, {})
        self._owners = {name: _owner(model, name) for name in self._dense}
        self._modules = [sized for sized in self._modules if sized.names & {*self._plan.tensors}]

    @property
    def layout(self) -> Layout:
        """Which channels of each group the model has now."""
        return self._layout

    @property
    def kept_masks(self) -> KeptMasks:
        """Of the layout as it is now."""
        return self._masks

    def dense_shapes(self) -> dict[str, torch.Size]:
        """The dense shape of every parameter and buffer."""
        return dict(self._dense_shapes)

    def live_shapes(self) -> dict[str, torch.Size]:
        """The shape of every tensor that a layout may slice, as it is now."""
        return {name: tensor.shape for name, tensor in self._live().items()}

    def shapes_under(self, layout: Layout) -> dict[str, torch.Size]:
        """The shapes that ``layout`` would give, without slicing anything."""
        return self._plan.shapes(layout, self._sliceable)

    def dense_tensors(self) -> dict[str, Tensor]:
        """The dense form of every tensor that can be sliced, trained values included."""
        self._gather(self._live(), self._keep, self._dense)
        return self._dense

    def dense_weights(self) -> dict[str, Tensor]:
        """The same, but weights themselves in the place of weight norms' directions."""
        dense = self.dense_tensors()
        weights = {
            norm.direction: norm.weight(dense[norm.direction], dense[norm.scale])
            for norm in self._norms.values()
        }
        return {**dense, **weights}

    def dense_form(self) -> Shared | None:
        """The dense tensors, right where channels are removed; None where none are.

        Removed channels don't change, so for as long as the layout stays it is the same content.
        """
        if not any(self._keep.values()):
            return None
        return Shared("dense", dict(self._dense), self._key)

    def set_layout(
        self, layout: Layout, optimizers: Iterable[Optimizer] = (), *, gathered: bool = False
    ) -> None:
        """Keep exactly the channels of ``layout``.

        Trained values of channels that go are remembered; values of channels that come back
        are what they were when they went. Optimizer state follows its parameter, and is zero
        for channels that come back.

        Args:
            gathered: the model was not trained since ``dense_tensors`` was called.
        """
        live, before = self._live(), self._keep
        self._enter(layout)
        changed = [
            name
            for name in self._dense
            if any(
                not same_tensors(before[each], self._keep[each])
                for each in (self._norms[name].tensors if name in self._norms else (name,))
            )
        ]
        if not gathered:
            self._gather(live, before, changed)
        if changed:
            self._key = Key()
        for name in changed:
            part = slice_dense(self._dense[name], self._keep[name])
            if name in self._norms:
                part = part * self._share(name, self._keep)
            replace_data(live[name], laid_out_like(live[name], part))
        self._update_sizes()
        for optimizer in optimizers:
            self._slice_state(optimizer, live, before, changed)

    def load(self, layout: Layout, dense: Shared | None, tensors: Mapping[str, Tensor]) -> None:
        """Go to ``layout``.

        Args:
            dense: the dense form under that layout; None where nothing is removed.
            tensors: the values of the model's tensors, under that layout as well.

        Raises:
            CheckpointError: they have other shapes.
        """
        live = self._live()
        whole = tensors if dense is None else dense.content
        self._dense = {name: _in_place_of(live[name], whole[name]) for name in self._dense}
        self._key = Key() if dense is None else dense.key
        self._enter(layout)
        shapes = self.shapes_under(layout)
        for name, tensor in live.items():
            if tensors[name].shape != shapes[name]:
                found, wanted = list(tensors[name].shape), list(shapes[name])
                raise CheckpointError(f"the checkpoint's {name} is {found}, and not {wanted}")
            replace_data(tensor, _in_place_of(tensor, tensors[name]))
        self._update_sizes()

    @contextmanager
    def masked(self, layout: Layout) -> Iterator[dict[int, KeptIndices]]:
        """The dense model, in which nobody reads the removed channels.

        What the layers that read them multiply them by is zeroed. What makes them is left alone:
        any function on the way that works channel by channel may do with them what it likes, and
        one that mixes them with others makes a difference to the compact model. A sum over all
        channels reads them without a weight, so of a group that is summed the filters, biases and
        scales are zeroed instead, and the running means, as the mean of zeros is zero. The layout
        must be dense; on leaving, the zeroed values are back.

        Yields:
            The id of each tensor that was zeroed -> what is kept of it.
        """
        tensors = self._live()
        everything: dict[tuple[int, int], Tensor] = {}
        zeroed: list[tuple[Tensor, int, Tensor, Tensor]] = []
        norms = {norm.direction: norm for norm in self._norms.values()}
        with torch.no_grad():
            whole = {scale: norm.of(tensors[norm.direction]) for scale, norm in self._norms.items()}
            for group, kept in zip(self.groups, layout.kept, strict=True):
                for slot in group.slots:
                    live = tensors.get(slot.tensor)
                    if live is None:  # a count
                        continue
                    made = isinstance(live, nn.Parameter) or slot.tensor.endswith("running_mean")
                    norm = norms.get(slot.tensor)
                    if norm is not None and norm.dim == slot.dim:
                        live = tensors[norm.scale]  # a direction of no length is none
                    if (slot.produces and made) if group.summed else not slot.produces:
                        gone = slot.positions[~kept[slot.channels]].to(live.device)
                        zeroed.append((live, slot.dim, gone, live.index_select(slot.dim, gone)))
                        live.index_fill_(slot.dim, gone, 0)
                        if len(gone):
                            place = id(live), slot.dim
                            rows = gone.new_ones(live.shape[slot.dim], dtype=torch.bool)
                            everything.setdefault(place, rows)[gone] = False
            scales = {scale: tensors[scale].detach().clone() for scale in self._norms}
            for scale, norm in self._norms.items():
                left = norm.of(tensors[norm.direction])
                tensors[scale].mul_(norm.share(left, whole[scale]).to(tensors[scale]))
        kept_of: dict[int, KeptIndices] = {}
        for (tensor, dim), mask in everything.items():
            kept_of[tensor] = {**kept_of.get(tensor, {}), dim: mask.nonzero().flatten()}
        try:
            yield kept_of
        finally:
            with torch.no_grad():
                for scale, values in scales.items():
                    tensors[scale].copy_(values)
                # In reverse, as one weight may have been zeroed along both dimensions.
                for live, dim, gone, values in reversed(zeroed):
                    live.index_copy_(dim, gone, values)

    def _live(self) -> dict[str, Tensor]:
        """The tensors that a layout may slice, as their modules hold them now."""
        return {name: tensors[key] for name, (tensors, key) in self._owners.items()}

    def _share(self, scale: str, keep: Keep) -> Tensor:
        """What of the norm of a scale's direction is left, for each of the scales that are kept."""
        norm = self._norms[scale]
        direction, kept = self._dense[norm.direction], keep[norm.direction]
        rows = {dim: indices for dim, indices in kept.items() if dim == norm.dim}
        left, whole = slice_dense(direction, kept), slice_dense(direction, rows)
        return norm.share(norm.of(left), norm.of(whole)).to(self._dense[scale])

    def _gather(self, live: Mapping[str, Tensor], keep: Keep, names: Iterable[str]) -> None:
        """Bring the dense forms up to date with the live values, which ``keep`` has kept."""
        with torch.no_grad():
            for name in names:
                part = live[name].detach()
                dense = self._dense[name] = self._dense[name].to(part)
                if name in self._norms:
                    share, known = self._share(name, keep), slice_dense(dense, keep[name])
                    # To the bit what it was, where it wasn't trained.
                    part = torch.where(known * share == part, known, part / share)
                scatter_into(dense, part, keep[name])

    def _enter(self, layout: Layout) -> None:
        self._layout = layout
        self._masks = self._plan.masks(layout)
        self._keep = self._plan.keep(self._masks)
        for scale in self._norms:
            self._keep.setdefault(scale, {})

    def _update_sizes(self) -> None:
        for sized in self._modules:
            sized.update(self._masks)
        for number in self._numbers:
            number.update(self._masks)
        drop_caches(self.model)

    def _slice_state(
        self, optimizer: Optimizer, live: Mapping[str, Tensor], before: Keep, names: Iterable[str]
    ) -> None:
        if isinstance(optimizer, LBFGS):
            # Its state is of all parameters end to end, and of the curvature of another network.
            optimizer.state.clear()
            optimizer._numel_cache = None
            return
        for name in names:
            state = optimizer.state.get(live[name])
            if not state:
                continue
            dense = self._dense[name].shape
            old_shape = tuple(
                len(before[name][dim]) if dim in before[name] else size
                for dim, size in enumerate(dense)
            )
            tensors = {
                key: value
                for key, value in state.items()
                if isinstance(value, Tensor) and value.dim()
            }
            if any(value.shape != old_shape for value in tensors.values()):
                # State of another shape (factored moments, say) can't follow; it starts anew.
                del optimizer.state[live[name]]
                continue
            for key, value in tensors.items():
                state[key] = slice_again(value, before[name], self._keep[name], dense)


def _owner(model: nn.Module, name: str) -> tuple[Mapping[str, Any], str]:
    """Where a module keeps a tensor of its own, and under which name."""
    path, _, key = name.rpartition(".")
    module = model.get_submodule(path)
    return (module._parameters if key in module._parameters else module._buffers), key


def _in_place_of(live: Tensor, value: Tensor) -> Tensor:
    """A copy of the value on the live one's device, of its type and in its memory format."""
    return laid_out_like(live, value.detach().to(live, copy=True))


def replace_data(tensor: Tensor, data: Tensor) -> None:
    """Give a parameter or buffer other data, of another shape perhaps; its gradient is dropped.

    A backward pass whose graph is still referred to keeps the parameter's accumulator of
    gradients alive, and with it the shape it expects. Changing the type drops the accumulator.
    """
    tensor.grad = None
    if data.shape != tensor.shape:
        other = torch.float64 if data.dtype != torch.float64 else torch.float32
        tensor.data = torch.empty(0, dtype=other, device=data.device)
    tensor.data = data


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its first name; a shared one appears once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def first_names(model: nn.Module) -> dict[str, str]:
    """Every name of every parameter and buffer, and the one that ``tensors_of`` gives it.

    A tensor that two modules share has two names, and so have all those of a module that the
    model holds twice.
    """
    firsts: dict[int, str] = {}
    names: dict[str, str] = {}
    for named in (model.named_parameters, model.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            names[name] = firsts.setdefault(id(tensor), name)
    return names


@dataclass(frozen=True)
class SizedModule:
    """A module with numbers of its own that follow its channels.

    Attributes:
        names: of its tensors, and of its count.
        count: the name of the attribute that counts its channels, where it has no tensors.
        channels: what that attribute says while the model is dense.
        per_group: what rows_per_group says then.
    """

    module: nn.Module
    names: frozenset[str]
    count: str
    channels: int
    per_group: int | None

    def update(self, kept: KeptMasks) -> None:
        """Make its numbers agree with its tensors, or its count with what ``kept`` has of it."""
        count = int(kept[self.count][0].sum()) if self.count in kept else self.channels
        update_sizes(self.module, self.per_group, count)


def sized_modules(model: nn.Module) -> list[SizedModule]:
    """The modules that own tensors, or a count of channels; to be asked while it is dense."""
    names = {id(tensor): name for name, tensor in tensors_of(model).items()}
    found = []
    for prefix, module in model.named_modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        attribute = count_of(module)
        count = ".".join(filter(None, (prefix, attribute))) if attribute else ""
        channels = int(getattr(module, attribute)) if attribute else 0
        tensors = frozenset(names[id(tensor)] for tensor in own)
        names_of = tensors | {count} if count else tensors
        if names_of:
            found.append(SizedModule(module, names_of, count, channels, rows_per_group(module)))
    return found
