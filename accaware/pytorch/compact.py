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
    Layout,
    SlicePlan,
    same_masks,
    scatter_into,
    slice_dense,
)
from accaware.pytorch.layers import is_depthwise, update_sizes


class CompactModel:
    """Slices a model's tensors in place to a layout, and back.

    The Parameter objects stay the same, so an optimizer or a closure that holds them stays
    valid; only their data changes shape. Every sliced tensor's dense form is kept once, on the
    model's device.

    Args:
        model: dense, as it came.
        groups: its coupled channels; a channel belongs to one group at most.
    """

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        self.model = model
        self.groups = tuple(groups)
        self._live = tensors_of(model)
        shapes = {name: tensor.shape for name, tensor in self._live.items()}
        self._plan = SlicePlan(groups, shapes)
        self._layout = Layout.dense(groups)
        self._keep = self._plan.keep(self._layout)
        self._dense = {name: self._live[name].detach().clone() for name in self._plan.tensors}
        self._modules = sized_modules(model, self._plan.tensors)

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def plan(self) -> SlicePlan:
        return self._plan

    def dense_shapes(self) -> dict[str, torch.Size]:
        """The dense shape of every parameter and buffer."""
        return {
            name: self._dense[name].shape if name in self._dense else tensor.shape
            for name, tensor in self._live.items()
        }

    def live_shapes(self) -> dict[str, torch.Size]:
        """The shape of every parameter and buffer as it is now."""
        return {name: tensor.shape for name, tensor in self._live.items()}

    def shapes_under(self, layout: Layout) -> dict[str, torch.Size]:
        """The shapes that ``layout`` would give, without slicing anything."""
        return self._plan.shapes(layout, self.dense_shapes())

    def dense_tensors(self) -> dict[str, Tensor]:
        """The dense form of every tensor that can be sliced, trained values included."""
        self._gather()
        return self._dense

    def set_layout(self, layout: Layout, optimizers: Iterable[Optimizer] = ()) -> None:
        """Keep exactly the channels of ``layout``.

        Trained values of channels that go are remembered; values of channels that come back
        are what they were when they went. Optimizer state follows its parameter, and is zero
        for channels that come back.
        """
        self._gather()
        before = self._keep
        after = self._plan.keep(layout)
        changed = [
            name
            for name in self._dense
            if not same_masks({name: before[name]}, {name: after[name]})
        ]
        self._slice(layout, changed)
        for optimizer in optimizers:
            self._slice_state(optimizer, before)

    def load_dense(self, dense: Mapping[str, Tensor], layout: Layout) -> None:
        """Replace the dense form, and slice it to ``layout``; the live values are dropped."""
        for name, tensor in self._dense.items():
            tensor.copy_(dense[name])
        self._slice(layout, self._dense)

    @contextmanager
    def masked(self, layout: Layout) -> Iterator[None]:
        """The dense model with the filters, biases and scales of the removed channels zeroed.

        What consumes the channels is left alone: whether that makes no difference is what a
        comparison with the compact model shows. The layout must be dense; on leaving, the
        zeroed values are back.
        """
        zeroed: list[tuple[Tensor, int, Tensor, Tensor]] = []
        with torch.no_grad():
            for group, kept in zip(self.groups, layout.kept, strict=True):
                for slot in group.slots:
                    live = self._live[slot.tensor]
                    if slot.produces and isinstance(live, nn.Parameter):
                        gone = slot.positions[~kept[slot.channels]].to(live.device)
                        zeroed.append((live, slot.dim, gone, live.index_select(slot.dim, gone)))
                        live.index_fill_(slot.dim, gone, 0)
        try:
            yield
        finally:
            with torch.no_grad():
                for live, dim, gone, values in zeroed:
                    live.index_copy_(dim, gone, values)

    def _gather(self) -> None:
        with torch.no_grad():
            for name, dense in self._dense.items():
                scatter_into(dense, self._live[name].detach(), self._keep[name])

    def _slice(self, layout: Layout, tensors: Iterable[str]) -> None:
        self._layout = layout
        self._keep = self._plan.keep(layout)
        with torch.no_grad():
            for name in tensors:
                live = self._live[name]
                live.grad = None
                live.data = slice_dense(self._dense[name], self._keep[name])
        for module, depthwise in self._modules:
            update_sizes(module, depthwise)

    def _slice_state(self, optimizer: Optimizer, before: dict[str, dict[int, Tensor]]) -> None:
        names = {id(self._live[name]): name for name in self._dense}
        for parameter, state in list(optimizer.state.items()):
            name = names.get(id(parameter))
            if name is None:
                continue
            dense = self._dense[name]
            old_shape = tuple(
                len(before[name][dim]) if dim in before[name] else size
                for dim, size in enumerate(dense.shape)
            )
            if any(
                isinstance(value, Tensor) and value.dim() and value.shape != old_shape
                for value in state.values()
            ):
                # State of another shape (factored moments, say) can't follow; it starts anew.
                del optimizer.state[parameter]
                continue
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim():
                    whole = torch.zeros(dense.shape, dtype=value.dtype, device=value.device)
                    scatter_into(whole, value, before[name])
                    state[key] = slice_dense(whole, self._keep[name])


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its first name; a shared one appears once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def sized_modules(model: nn.Module, tensors: Iterable[str]) -> list[tuple[nn.Module, bool]]:
    """The modules that own one of the tensors, and whether each is a depthwise convolution.

    To be asked while the model is dense: a depthwise convolution with one channel left looks
    like any other.
    """
    by_name = tensors_of(model)
    sliced = {id(by_name[name]) for name in tensors}
    return [
        (module, is_depthwise(module))
        for module in model.modules()
        if any(id(parameter) in sliced for parameter in module.parameters(recurse=False))
        or any(id(buffer) in sliced for buffer in module.buffers(recurse=False))
    ]
