"""Where groups of channels are tried on shapes alone, which costs little and tells most faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.compact import CompactModel
from accaware.pytorch.channels.layout import ChannelGroup, Layout
from accaware.pytorch.channels.trials.bench import OUTPUT, Fault, failure_of, layout_without
from accaware.pytorch.channels.trials.comparison import same_shapes
from accaware.pytorch.channels.trials.removal import removal
from accaware.pytorch.channels.trials.trial import RemovalTrial
from accaware.pytorch.model.copies import copy_without_values
from accaware.pytorch.model.device import raise_if_out_of_memory
from accaware.pytorch.model.forward_watch import ForwardWatch
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import Mode


class ShapeBench:
    """The model on the meta device, where tensors have shapes and no values.

    Args:
        model: dense; it is copied, not touched.
        groups: to be tried; one channel of each is removed.
        trials: one of each mode is run; those that read values aren't: other trials judge them.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[ChannelGroup], trials: Sequence[RemovalTrial]
    ) -> None:
        self._groups = groups
        self._removals = [removal(group)[:1] for group in groups]
        self._model = copy_without_values(model)
        self._compact = CompactModel(self._model, groups)
        self._wanted: dict[RemovalTrial, Sequence[Tensor]] = {}
        self._of_modules: dict[str, list[RemovalTrial]] = {}
        for mode in dict.fromkeys(trial.mode for trial in trials):
            example = next(trial.inputs for trial in trials if trial.mode is mode)
            trial = RemovalTrial(mode, example.on(torch.device("meta")))
            try:
                self._wanted[trial] = self._dense_outputs(trial)
            except Exception as error:  # noqa: BLE001 - it reads values; the real trial judges it
                raise_if_out_of_memory(error)

    def _dense_outputs(self, trial: RemovalTrial) -> Sequence[Tensor]:
        """What the dense model gives; what its modules were given is kept."""
        with _Given(trial.mode).watching(self._model) as given:
            outputs = self._run(trial, self._model)
        for name, trials in given.trials.items():
            self._of_modules.setdefault(name, []).extend(trials)
        return outputs

    def fault(self, members: Sequence[int]) -> Fault | None:
        """Why these groups can't lose channels side by side; None where shapes don't tell."""
        self._compact.set_layout(layout_without(self._groups, members, self._removals))
        for trial, expected in self._wanted.items():
            try:
                outputs = self._run(trial, self._model)
            except Exception as error:  # noqa: BLE001 - what the forward says is the answer
                raise_if_out_of_memory(error)
                return failure_of(error, self._model)
            if not same_shapes(expected, outputs):
                return Fault(OUTPUT)
        return None

    def fault_within(self, index: int, name: str) -> Fault | None:
        """Why one group can't lose channels, by a module that has all of them; None if it can.

        The module alone is run, on what it was given in the dense model, which is far quicker than
        the model is. None, too, where that doesn't tell.
        """
        if not all(slot.tensor.startswith(f"{name}.") for slot in self._groups[index].slots):
            return None
        module, trials = self._model.get_submodule(name), self._of_modules.get(name, [])
        self._compact.set_layout(Layout.dense(self._groups))
        if any(self._failure(trial, module) is not None for trial in trials):
            return None  # it isn't itself without the others
        self._compact.set_layout(layout_without(self._groups, [index], self._removals))
        failures = (self._failure(trial, module) for trial in trials)
        return next((each for each in failures if each is not None), None)

    def _failure(self, trial: RemovalTrial, module: nn.Module) -> Fault | None:
        try:
            self._run(trial, module)
        except Exception as error:  # noqa: BLE001 - what the forward says is the answer
            raise_if_out_of_memory(error)
            return failure_of(error, self._model)
        return None

    def _run(self, trial: RemovalTrial, module: nn.Module) -> Sequence[Tensor]:
        with torch.no_grad():
            return trial.run(module).outputs


class _Given(ForwardWatch):
    """What each module of a model is given, as trials of that module."""

    def __init__(self, mode: Mode) -> None:
        super().__init__()
        self.trials: dict[str, list[RemovalTrial]] = {}
        self._mode = mode

    def entered(self, inputs: Any) -> None:
        """Keep them."""
        args, kwargs = inputs
        trial = RemovalTrial(self._mode, ExampleInputs(args, kwargs))
        self.trials.setdefault(self.module, []).append(trial)
