"""The forward passes in which channels are traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from accaware.errors import CompressionError
from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import varies
from accaware.pytorch.channels.tracing.layers.registered import follow
from accaware.pytorch.channels.tracing.numbers import follow_sizes, name_numbers
from accaware.pytorch.channels.tracing.rules import CONVOLVE, apply, by_element
from accaware.pytorch.channels.tracing.unreached import Unreached, find_unreached
from accaware.pytorch.model.copies import copied, copy_without_values
from accaware.pytorch.model.deterministic import DROPOUTS, call_steadily
from accaware.pytorch.model.device import raise_if_out_of_memory
from accaware.pytorch.model.forward_watch import ForwardWatch
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import Mode
from accaware.pytorch.model.registered import registration_of
from accaware.pytorch.model.tensors import output_tensors, tensors_in

_OUTPUT = "its channels are the model's output"
_SETTINGS_ASIDE = frozenset(
    ("batch_norm", "instance_norm", "multi_head_attention_forward", "scaled_dot_product_attention")
)
"""Functions that are told whether they train, and do the same to channels either way."""


@dataclass(frozen=True)
class TracedChannels:
    """What came of tracing a model's channels.

    Attributes:
        table: of its tensors, by what it does in all of its modes.
        reached: the modes in which it does different things to channels -> the names of the
            parameters that it uses there. One mode stands for another that does the same.
        unreached: what no forward used.
    """

    table: ChannelTable
    reached: Mapping[Mode, frozenset[str]]
    unreached: tuple[Unreached, ...]


def trace_channels(model: nn.Module, inputs: ExampleInputs) -> TracedChannels:
    """Run the model in both of its modes, on tensors without values where it can do that.

    Args:
        model: it is copied, not touched.

    Raises:
        CompressionError: it gives no tensors.
        Exception: whatever the model's forward raises, where it runs in no mode.
    """
    # Training first: where it isn't to be had with these inputs, most often that shows at once.
    both = (Mode.TRAINING, Mode.EVALUATION)
    try:  # a forward that reads values can't, and gets some below
        return _traced(copy_without_values(model), inputs.on(torch.device("meta")), both)
    except Exception as error:  # noqa: BLE001
        raise_if_out_of_memory(error)
    failures: list[Exception] = []
    # Some models train on other inputs than they evaluate.
    for modes in (both, both[1:], both[:1]):
        try:
            return _traced(copied(model), inputs, modes)
        except Exception as error:  # noqa: BLE001 - raised where no mode runs
            raise_if_out_of_memory(error)
            failures.append(error)
    raise failures[1]


def _traced(model: nn.Module, inputs: ExampleInputs, modes: Sequence[Mode]) -> TracedChannels:
    table = ChannelTable(model, name_numbers(model), by_element)
    passes = {mode: _run(model, inputs, mode, table) for mode in modes}
    used = {name for each in passes.values() for name in each.used}
    called = {name for each in passes.values() for name in each.called}
    unreached = find_unreached(model, used, called)
    if unreached:
        for mode in modes:
            _run(model, inputs, mode, table, unreached)
    table.finish()
    distinct = dict(passes)
    if len(passes) > 1 and len({each.trace for each in passes.values()}) == 1:
        del distinct[Mode.TRAINING]
    reached = {mode: frozenset(each.used) for mode, each in distinct.items()}
    return TracedChannels(table, reached, unreached)


@dataclass(frozen=True)
class _Pass:
    used: set[str]
    called: set[str]
    trace: tuple[Any, ...]


def _run(
    model: nn.Module,
    inputs: ExampleInputs,
    mode: Mode,
    table: ChannelTable,
    unreached: Sequence[Unreached] = (),
) -> _Pass:
    mode.set(model)
    tracer = _Tracer(model, table, unreached)
    with tracer.watching(model):
        outputs = output_tensors(inputs.call(model))
    if not outputs:
        raise CompressionError(
            f"{type(model).__name__} can't be pruned: its forward gives no tensors, in no "
            "container and in no attribute, so nothing tells whether a smaller model is right"
        )
    table.bind(outputs, _OUTPUT)
    return _Pass(tracer.used, tracer.ran, tuple(tracer.trace))


class _Tracer(ForwardWatch):
    """Gives channel ids to what each call of a torch function gives.

    Attributes:
        used: names of parameters and buffers that a function took.
        ran: names of modules that ran.
        trace: what was done to what, but for numbers that channels don't depend on.
    """

    def __init__(
        self, model: nn.Module, table: ChannelTable, unreached: Sequence[Unreached]
    ) -> None:
        super().__init__()
        self.used: set[str] = set()
        self.ran: set[str] = set()
        self.trace: list[Any] = []
        self._table = table
        self._convolved: Any = WeakIdKeyDictionary()  # what some convolution has had a part in
        # By now a former pass may have replaced buffers.
        self._names: Any = WeakIdKeyDictionary()
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self._names[tensor] = name
        self._origins: Any = WeakIdKeyDictionary()  # what gave a tensor
        self._registered = {
            name: (module, registration)
            for name, module in model.named_modules()
            if (registration := registration_of(module)) is not None
        }
        self._within: tuple[int, tuple[Tensor, ...]] | None = None
        """How deep the registered layer is that is running, and what it was given."""
        self._waiting: dict[str, list[Unreached]] = {}
        for each in unreached:
            self._waiting.setdefault(each.scope, []).append(each)

    def entered(self, inputs: Any) -> None:
        self.ran.add(self.module)
        self._keep_for_unreached(tensors_in(inputs))
        if self._within is None and self.module in self._registered:
            self._within = len(self._running), tensors_in(inputs)

    def left(self, module: str, output: Any) -> None:
        if self._within is not None and self._within[0] > len(self._running):
            self._follow_registered(module, self._within[1], tensors_in(output))
            self._within = None
        if self._running:
            self._keep_for_unreached(output_tensors(output) if self._waiting else ())

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        outputs = call_steadily(func, args, kwargs)
        call = Call(func, args, kwargs, self.module, self.place, tensors_in(outputs))
        if call.outputs and self._within is None:
            self._follow(call)
        self._write_down(call)
        return outputs

    def _follow(self, call: Call) -> None:
        if not call.inputs:
            follow_sizes(self._table, call)
            return
        apply(self._table, call)
        self._trace_convolutions(call)
        self._keep_for_unreached(call.outputs)

    def _follow_registered(
        self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        module, registration = self._registered[name]
        place = f"{name or 'the model'} ({type(module).__name__})"
        follow(self._table, place, module, registration, inputs, outputs)
        own = (*module.parameters(), *module.buffers())
        self.used.update(self._names[tensor] for tensor in own if tensor in self._names)

    def _trace_convolutions(self, call: Call) -> None:
        convolved = any(tensor in self._convolved for tensor in call.inputs)
        if call.name in CONVOLVE:
            layer = self._table.layer_of(call.argument(1, "weight"))
            if layer is not None and call.argument(0, "input") not in self._convolved:
                self._table.first_convolutions.add(layer)
            convolved = True
        if convolved:
            for tensor in call.outputs:
                self._convolved[tensor] = True

    def _write_down(self, call: Call) -> None:
        sources: list[Any] = []
        for tensor in call.inputs:
            name = self._names.get(tensor)
            if name is not None:
                self.used.add(name)
            sources.append(name or self._origins.get(tensor, tuple(tensor.shape)))
        if not call.outputs:  # a question about a shape or a device
            return
        if call.name in DROPOUTS:
            for tensor in call.outputs:
                self._origins[tensor] = sources[0]
            return
        settings: list[Any] = []
        if call.name not in _SETTINGS_ASIDE:
            leaves = pytree.tree_leaves((call.args, dict(call.kwargs)))
            settings = [leaf for leaf in leaves if isinstance(leaf, (bool, int, str))]
        for place, tensor in enumerate(call.outputs):
            self._origins[tensor] = (len(self.trace), place)
        self.trace.append((call.name, *sources, *settings))

    def _keep_for_unreached(self, seen: Sequence[Tensor]) -> None:
        """Bind what could go into a layer that waits in the module at hand."""
        for waiting in self._waiting.get(self.module, ()):
            reason = (
                f"{waiting.name} may read its channels, and wasn't reached: give example inputs "
                "with which the forward uses it, or take it out of the model"
            )
            for tensor in seen:
                of_weight = tensor in self._names or tensor in self._table.parts
                ids = None if of_weight else self._table[tensor]
                if ids is not None and any(
                    waiting.could_read(tensor.shape, dim) and varies(ids, dim)
                    for dim in range(tensor.dim())
                ):
                    self._table.coupling.bind(ids, reason)
