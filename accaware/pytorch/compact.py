"""A model that really lacks its removed channels, and remembers the dense one.

A filter whose output is zeroed through its batch norm contributes nothing and receives no
gradient, so training without it is the same computation at a smaller network's price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.pytorch.channels import (
    ChannelGroup,
    Keep,
    Layout,
    SlicePlan,
    scatter_into,
    slice_dense,
)
from accaware.pytorch.layers import rows_per_group, update_sizes
from accaware.pytorch.shared import Key, Shared


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
        self._plan = SlicePlan(groups, self._dense_shapes)
        self._layout = Layout.dense(groups)
        self._keep = self._plan.keep(self._layout)
        self._dense = {
            name: live[name].detach().clone() if own_copy else live[name].detach()
            for name in self._plan.tensors
        }
        self._key = Key()
        self._modules = sized_modules(model, self._plan.tensors)

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def plan(self) -> SlicePlan:
        return self._plan

    def dense_shapes(self) -> dict[str, torch.Size]:
        """The dense shape of every parameter and buffer."""
        return dict(self._dense_shapes)

    def live_shapes(self) -> dict[str, torch.Size]:
        """The shape of every parameter and buffer as it is now."""
        return {name: tensor.shape for name, tensor in tensors_of(self.model).items()}

    def shapes_under(self, layout: Layout) -> dict[str, torch.Size]:
        """The shapes that ``layout`` would give, without slicing anything."""
        return self._plan.shapes(layout, self._dense_shapes)

    def dense_tensors(self) -> dict[str, Tensor]:
        """The dense form of every tensor that can be sliced, trained values included."""
        self._gather(tensors_of(self.model))
        return self._dense

    def dense_form(self) -> Shared | None:
        """The dense tensors, right where channels are removed; None where none are.

        Removed channels don't change, so for as long as the layout stays it is the same content.
        """
        if not any(self._keep.values()):
            return None
        return Shared("dense", dict(self._dense), self._key)

    def set_layout(self, layout: Layout, optimizers: Iterable[Optimizer] = ()) -> None:
        """Keep exactly the channels of ``layout``.

        Trained values of channels that go are remembered; values of channels that come back
        are what they were when they went. Optimizer state follows its parameter, and is zero
        for channels that come back.
        """
        live = tensors_of(self.model)
        before, after = self._keep, self._plan.keep(layout)
        changed = [name for name in self._dense if not _same(before[name], after[name])]
        self._gather(live, changed)
        if changed:
            self._key = Key()
        self._slice(live, layout, after, changed)
        for optimizer in optimizers:
            self._slice_state(optimizer, live, before, changed)

    def load(self, layout: Layout, dense: Shared | None, tensors: Mapping[str, Tensor]) -> None:
        """Go to ``layout``; the live values are dropped, and the caller gives the model new ones.

        Args:
            dense: the dense form under that layout.
            tensors: stand for it where there is none, as nothing is removed.
        """
        live = tensors_of(self.model)
        whole = tensors if dense is None else dense.content
        self._dense = {name: whole[name].detach().to(live[name], copy=True) for name in self._dense}
        self._key = Key() if dense is None else dense.key
        self._slice(live, layout, self._plan.keep(layout), self._dense)

    @contextmanager
    def masked(self, layout: Layout) -> Iterator[None]:
        """The dense model with the filters, biases and scales of the removed channels zeroed.

        What consumes the channels is left alone: whether that makes no difference is what a
        comparison with the compact model shows. The running mean of zeros is zero as well. The
        layout must be dense; on leaving, the zeroed values are back.
        """
        tensors = tensors_of(self.model)
        zeroed: list[tuple[Tensor, int, Tensor, Tensor]] = []
        with torch.no_grad():
            for group, kept in zip(self.groups, layout.kept, strict=True):
                for slot in group.slots:
                    live = tensors[slot.tensor]
                    follows = slot.tensor.endswith("running_mean")
                    if slot.produces and (follows or isinstance(live, nn.Parameter)):
                        gone = slot.positions[~kept[slot.channels]].to(live.device)
                        zeroed.append((live, slot.dim, gone, live.index_select(slot.dim, gone)))
                        live.index_fill_(slot.dim, gone, 0)
        try:
            yield
        finally:
            with torch.no_grad():
                for live, dim, gone, values in zeroed:
                    live.index_copy_(dim, gone, values)

    def _gather(self, live: Mapping[str, Tensor], names: Iterable[str] | None = None) -> None:
        """Bring the dense forms up to date with the live values: of all tensors, or of some."""
        with torch.no_grad():
            for name in self._dense if names is None else names:
                part = live[name].detach()
                dense = self._dense[name] = self._dense[name].to(part)
                scatter_into(dense, part, self._keep[name])

    def _slice(
        self, live: Mapping[str, Tensor], layout: Layout, keep: Keep, names: Iterable[str]
    ) -> None:
        self._layout, self._keep = layout, keep
        for name in names:
            replace_data(live[name], slice_dense(self._dense[name], keep[name]))
        for module, per_group in self._modules:
            update_sizes(module, per_group)

    def _slice_state(
        self, optimizer: Optimizer, live: Mapping[str, Tensor], before: Keep, names: Iterable[str]
    ) -> None:
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
                whole = value
                if before[name]:
                    whole = value.new_zeros(dense)
                    scatter_into(whole, value, before[name])
                state[key] = slice_dense(whole, self._keep[name])


def _same(mine: Mapping[int, Tensor], theirs: Mapping[int, Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[dim], theirs[dim]) for dim in mine)


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


def sized_modules(model: nn.Module, tensors: Iterable[str]) -> list[tuple[nn.Module, int | None]]:
    """The modules that own one of the tensors, each with its ``rows_per_group``.

    To be asked while the model is dense.
    """
    by_name = tensors_of(model)
    sliced = {id(by_name[name]) for name in tensors}
    return [
        (module, rows_per_group(module))
        for module in model.modules()
        if any(id(parameter) in sliced for parameter in module.parameters(recurse=False))
        or any(id(buffer) in sliced for buffer in module.buffers(recurse=False))
    ]
