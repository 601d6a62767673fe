"""Layers that users have registered: their own word in the place of what their forward does."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds
from accaware.pytorch.model.registered import Registration
from accaware.wording import first_line


def follow(
    table: ChannelTable,
    place: str,
    module: nn.Module,
    registration: Registration,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> None:
    """Give ids to what the layer gave, and tie what it read, by its registration.

    Args:
        place: the module for people.
        module: a copy, dense.
        inputs: all tensors that its forward was given.
        outputs: all that it gave.
    """
    for tensor in outputs:
        table[tensor] = None
    reason = _why_wrong(module, registration, inputs, outputs)
    if reason is None:
        table.bind(inputs[1:], f"{place} is registered for one input, and takes this one besides")
        reason = _tied(table, module, registration, inputs[0], outputs[0])
    if reason is not None:
        told = f"{place} isn't what its registration says: {reason}"
        table.bind([*inputs, *(module.get_parameter(name) for name in _own(module))], told)


def _own(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters(recurse=False)]


def _why_wrong(
    module: nn.Module,
    registration: Registration,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> str | None:
    """What doesn't hold of the layer at hand; None where all does."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    sides = (
        ("reads", "input", registration.reads, registration.input_dim, inputs),
        ("makes", "output", registration.makes, registration.output_dim, outputs),
    )
    for does, side, told, along, given in sides:
        if not given or not -given[0].dim() <= along < given[0].dim():
            return f"its {side} has no dimension {along}"
        for name, dim in told.items():
            if name not in tensors:
                return f"it has no tensor {name}"
            if dim >= tensors[name].dim():
                return f"{name} has no dimension {dim}"
            size, channels = tensors[name].shape[dim], given[0].shape[along]
            if size != channels:
                return (
                    f"it {does} {channels} channels (dimension {along} of its {side}), and "
                    f"dimension {dim} of {name} has {size}"
                )
    if registration.resize is not None:
        try:
            registration.resize(module)
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises
            return f"its resize fails ({type(error).__name__}: {first_line(error, 'no message')})"
    return None


def _tied(
    table: ChannelTable,
    module: nn.Module,
    registration: Registration,
    given: Tensor,
    output: Tensor,
) -> str | None:
    """Tie all that goes together; why that can't be done, if it can't."""
    read: list[ChannelIds] = []
    made: list[ChannelIds] = []
    if (ids := table.along(given, registration.input_dim)) is not None:
        read.append(ids)
    for name in sorted(registration.tensors):
        tensor = _tensor(module, name)
        reads, makes = registration.reads.get(name), registration.makes.get(name)
        if reads == makes or (reads is None and tensor.dim() == 1):
            line = table.along(tensor, makes or 0)
            lines: dict[int | None, ChannelIds] = {} if line is None else {makes: line}
        else:
            dims = [dim for dim in (reads, makes) if dim is not None]
            weight = table.layer_weight(tensor, dims, makes)
            if weight is None:
                return f"{name} isn't its own alone"
            lines = dict(weight.items())
        read += [lines[reads]] if reads in lines else []
        made += [lines[makes]] if makes in lines else []
    for side in (read, made):
        for ids in side[1:]:
            table.coupling.tie(side[0], ids)
    if made:
        shape = [1] * output.dim()
        shape[registration.output_dim] = -1
        table[output] = made[0].reshape(shape).expand(output.shape)
    return None


def _tensor(module: nn.Module, name: str) -> Tensor:
    path, _, key = name.rpartition(".")
    owner = module.get_submodule(path)
    tensor: Tensor = getattr(owner, key)
    return tensor
