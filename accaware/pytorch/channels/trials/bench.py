"""Where groups of channels are tried on numbers."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import accaware
from accaware.errors import CompressionError
from accaware.pytorch.channels.compact import CompactModel, tensors_of
from accaware.pytorch.channels.layout import ChannelGroup, Layout
from accaware.pytorch.channels.trials.arithmetic import convert
from accaware.pytorch.channels.trials.comparison import (
    comparable_decisions,
    compare,
    compare_tensors,
    same_shapes,
)
from accaware.pytorch.channels.trials.reach import Decisions, reach_by_gradient
from accaware.pytorch.channels.trials.removal import removal_with
from accaware.pytorch.channels.trials.trial import Observed, RemovalTrial
from accaware.pytorch.channels.trials.variation import vary
from accaware.pytorch.model.copies import copy_in
from accaware.pytorch.model.device import raise_if_out_of_memory
from accaware.pytorch.model.layers import Mode
from accaware.wording import first_line

TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Largest relative difference of outputs; wrong groups miss it by far.

Single precision is for models that don't run in double.
"""
_ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-6}
"""What rounding may do at least, relative to the outputs."""
_CLEAR = 10
"""How many times what is tolerated the channels have to matter, lest a fault be tolerated too."""
_RETRIES = (11, 12, 13)
"""More seeds for what a training forward skips at random."""

OUTPUT = "its channels are the model's output"
MIXED = (
    "removing its channels changes what the others do: they are mixed with them in a way that "
    "wasn't traced"
)
BY_SIZE = (
    "removing its channels changes what the others do at another size of the inputs: they are "
    "laid out across positions, and which of them lie together depends on how many there are"
)
_NOT_THEIRS = (Path(torch.__file__).parent, Path(accaware.__file__).parent)
"""Where no forward of a user's is."""
_RANDOM = "the model's outputs differ from run to run, so that nothing can be compared"
_UNPROVEN = "it can't be proven: {why} in {mode}, neither on noise nor on the example inputs"
_DEAD = "nothing of its channels reaches the model's outputs"
_NOTHING = "the model's outputs are empty or not finite"


@dataclass(frozen=True)
class Fault:
    """Why groups can't lose channels.

    Attributes:
        running: the modules in which a forward failed, the innermost first.
    """

    reason: str
    running: tuple[str, ...] = ()


class Bench:
    """A varied copy of the model, and the ways in which it is run.

    Args:
        model: dense; it is copied, not touched.
        groups: to be tried.
        reached: the modes to try -> the names of the parameters that the model uses there.
        trials: in the order in which they are tried.

    Attributes:
        trials: those that the model can run.

    Raises:
        CompressionError: it runs none in any precision.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ChannelGroup],
        reached: Mapping[Mode, Iterable[str]],
        trials: Sequence[RemovalTrial],
    ) -> None:
        self._groups = groups
        self._model = copy_in(model, torch.float32)
        vary(self._model, trials)
        self._members = {
            mode: [
                index
                for index, group in enumerate(groups)
                if any(slot.tensor in names for slot in group.producing_weights())
            ]
            for mode, names in ((mode, frozenset(names)) for mode, names in reached.items())
        }
        self._decisions: dict[RemovalTrial, Decisions] = {}
        # In single precision, as it is to be seen and not to be measured.
        self._effects: dict[Mode, dict[int, Tensor]] = {mode: {} for mode in reached}
        for mode in reached:
            self._follow_gradients(mode, trials)
        self._removals = [
            removal_with(
                group, [found[index] for found in self._effects.values() if index in found]
            )
            for index, group in enumerate(groups)
        ]
        self._differences: dict[tuple[Mode, int], float] = {}
        self._steadiness: dict[RemovalTrial, bool] = {}
        self._asked_of_decisions: set[Mode] = set()
        self._all_trials = tuple(trials)
        self._dropped: dict[RemovalTrial, Exception] = {}
        self._compared = dict.fromkeys(reached, 0)
        self._precision(torch.float64)
        self._compact = CompactModel(self._model, groups, own_copy=False)

    def fault(self, members: Sequence[int], tolerance: float | None = None) -> Fault | None:
        """Why these groups can't lose channels side by side; None where they can.

        Args:
            tolerance: another one than that of the precision.

        Raises:
            CompressionError: the model runs in no trial.
        """
        layout = layout_without(self._groups, members, self._removals)
        self._compact.set_layout(Layout.dense(self._groups))
        try:
            wanted = self._masked(layout)
        except _FailsMaskedError as error:
            return failure_of(error.original, self._model)
        largest = dict.fromkeys(self._members, 0.0)
        for trial, expected in wanted.items():
            self._compact.set_layout(layout)
            try:
                seen = self._run(trial)
            except Exception as error:  # noqa: BLE001 - what the user's forward says is the answer
                raise_if_out_of_memory(error)
                return failure_of(error, self._model)
            reason = None
            if same_shapes(expected.outputs, seen.outputs):
                found = compare(expected, seen)
                places = comparable_decisions(expected, seen)
                self._decisions[trial] = Decisions(len(expected.decisions), places)
                self._compared[trial.mode] += found.elements
                largest[trial.mode] = max(largest[trial.mode], found.difference)
                if found.difference > (tolerance or TOLERANCES[self._dtype]):
                    reason = BY_SIZE if trial.at_other_size else MIXED
            else:
                reason = OUTPUT
            if reason is not None and not self._steady(trial):
                if trial.mode is Mode.EVALUATION:
                    return Fault(_RANDOM)
                self.trials.remove(trial)  # dropout of a container's own, say
            elif reason is not None:
                return Fault(reason)
        self._differences |= {(mode, i): each for mode, each in largest.items() for i in members}
        return None

    def negate(self, members: Iterable[int]) -> None:
        """Give some groups' channels the other sign: what a ReLU held at zero lives then.

        Whether they reach the outputs is open again.
        """
        self._compact.set_layout(Layout.dense(self._groups))
        tensors = tensors_of(self._model)
        least = _CLEAR * _ROUNDING[self._dtype]
        for index in members:
            group = self._groups[index]
            made = [
                slot
                for slot in group.slots
                if slot.produces and isinstance(tensors.get(slot.tensor), nn.Parameter)
            ]
            layers = [slot.layer for slot in group.producing_weights()]
            biases = {f"{layer}.bias" for layer in layers}
            own = [slot for slot in made if slot.layer is not None or slot.tensor in biases]
            # A norm behind a layer would take the layer's sign for a part of its statistics. What
            # else the layer has is a factor of its weight, whose sign would undo that of the other.
            behind = [
                slot
                for slot in made
                if slot.layer is None
                and not any(slot.tensor.startswith(f"{layer}.") for layer in layers)
            ]
            for slot in behind or own:
                tensor, places = tensors[slot.tensor].data, slot.positions
                places = places.to(tensor.device)
                tensor.index_copy_(slot.dim, places, -tensor.index_select(slot.dim, places))
            for effects in self._effects.values():
                if index in effects and effects[index][self._removals[index]].max() < least:
                    del effects[index]
        self._asked_of_decisions.clear()

    def unproven(self, index: int) -> str | None:
        """Why the trials say nothing about a group that passed them; None where they do."""
        for mode, members in self._members.items():
            if index not in members or not any(trial.mode is mode for trial in self.trials):
                continue
            if not self._compared[mode]:
                return _UNPROVEN.format(why=_NOTHING, mode=mode.value)
            effect = self._effect(mode, index)
            if effect < _CLEAR * _ROUNDING[self._dtype]:
                return _UNPROVEN.format(why=_DEAD, mode=mode.value)
            # What hardly matters has to agree the better: a fault would hardly matter either.
            if effect < _CLEAR * self._differences.get((mode, index), math.inf):
                fault = self.fault([index], effect / _CLEAR)
                if fault is not None:
                    return fault.reason
        return None

    def hidden(self, members: Sequence[int]) -> list[int]:
        """Of groups that passed side by side, those whose fault another one may have hidden.

        Where that lost its half, nothing of theirs may reach the outputs any more: then they are
        to be tried alone.
        """
        layout = layout_without(self._groups, members, self._removals)
        self._compact.set_layout(Layout.dense(self._groups))
        self._convert(torch.float32)
        hidden: set[int] = set()
        with self._masking(layout):
            for mode, able in self._members.items():
                pending = {index: self._groups[index] for index in members if index in able}
                for trial in self.trials:
                    if not pending or trial.mode is not mode:
                        continue
                    decisions = self._decisions.get(trial, Decisions())
                    effects = reach_by_gradient(self._model, pending, trial, decisions)
                    for index, effect in effects.items():
                        left = torch.ones(self._groups[index].size, dtype=torch.bool)
                        left[self._removals[index]] = False
                        if float(effect[left].max()) >= _CLEAR * _ROUNDING[self._dtype]:
                            pending.pop(index)
                hidden |= pending.keys()
        self._convert(self._dtype)
        return sorted(hidden)

    def _effect(self, mode: Mode, index: int) -> float:
        """How far the outputs move when a group's channels do, relative to the outputs."""
        effects = self._effects[mode]
        if index not in effects and mode not in self._asked_of_decisions:
            self._asked_of_decisions.add(mode)
            self._compact.set_layout(Layout.dense(self._groups))
            self._convert(torch.float32)
            self._follow_gradients(mode, self.trials)
            self._convert(self._dtype)
        if index not in effects:
            self._measure(mode, [each for each in self._members[mode] if each not in effects])
        return float(effects[index][self._removals[index]].max())

    def _follow_gradients(self, mode: Mode, trials: Sequence[RemovalTrial]) -> None:
        """What reaches the outputs, and the decisions that have been compared by now."""
        effects = self._effects[mode]
        for trial in trials:
            decisions = self._decisions.get(trial, Decisions())
            seeds = (trial.seed, *_RETRIES) if mode is Mode.TRAINING else (trial.seed,)
            for way in [replace(trial, seed=seed) for seed in seeds if trial.mode is mode]:
                pending = {
                    index: self._groups[index]
                    for index in self._members[mode]
                    if index not in effects
                }
                if pending:
                    effects |= reach_by_gradient(self._model, pending, way, decisions)

    def _measure(self, mode: Mode, members: Sequence[int]) -> None:
        """Fill in the reach of groups that have no gradient, by putting them at zero."""
        self._compact.set_layout(Layout.dense(self._groups))
        dense = {trial: self._run(trial) for trial in self.trials if trial.mode is mode}

        def effect(indices: Sequence[int]) -> float:
            with self._masking(layout_without(self._groups, indices, self._removals)):
                return max(self._moved(trial, before) for trial, before in dense.items())

        together = effect(members)
        for index in members:
            alone = len(members) > 1 and together > 0
            moved = effect([index]) if alone else together
            self._effects[mode][index] = torch.full((self._groups[index].size,), moved)

    def _moved(self, trial: RemovalTrial, before: Observed) -> float:
        now = self._run(trial)
        if not same_shapes(before.outputs, now.outputs):
            return math.inf
        decisions = self._decisions.get(trial, Decisions())
        return (
            compare_tensors(
                [*before.outputs, *decisions.of(before)], [*now.outputs, *decisions.of(now)]
            ).difference
            if len(before.decisions) == len(now.decisions)
            else math.inf
        )

    def _masked(self, layout: Layout) -> dict[RemovalTrial, Observed]:
        """What each trial gives with channels at zero; the layout must be dense."""
        wanted: dict[RemovalTrial, Observed] = {}
        failures: dict[RemovalTrial, Exception] = {}
        with self._masking(layout):
            for trial in self.trials:
                try:
                    wanted[trial] = self._run(trial)
                except Exception as error:  # noqa: BLE001 - judged below
                    raise_if_out_of_memory(error)
                    failures[trial] = error
        for trial, failure in failures.items():
            try:
                self._run(trial)
            except Exception as dense:  # noqa: BLE001 - told where no trial runs
                raise_if_out_of_memory(dense)
                self.trials.remove(trial)
                self._dropped[trial] = dense
            else:
                raise _FailsMaskedError(failure) from failure
        if self.trials:
            return wanted
        if self._dtype == torch.float32:
            last = self._dropped[self._all_trials[-1]]
            raise CompressionError(
                f"{type(self._model).__name__} doesn't run on the example inputs: "
                f"{first_line(last)}"
            ) from last
        self._precision(torch.float32)
        return self._masked(layout)

    def _precision(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self.trials = list(self._all_trials)
        self._convert(dtype)

    def _convert(self, dtype: torch.dtype) -> None:
        self._arithmetic = convert(self._model, dtype)

    def _steady(self, trial: RemovalTrial) -> bool:
        """Whether a trial gives the same with other random numbers."""
        if trial in self._steadiness:
            return self._steadiness[trial]
        self._compact.set_layout(Layout.dense(self._groups))
        first, second = (self._run(each) for each in (trial, replace(trial, seed=trial.seed + 1)))
        self._steadiness[trial] = (
            same_shapes(first.outputs, second.outputs)
            and compare_tensors(first.outputs, second.outputs).difference == 0
        )
        return self._steadiness[trial]

    @contextmanager
    def _masking(self, layout: Layout) -> Iterator[None]:
        dense = self._arithmetic
        with self._compact.masked(layout) as kept:
            self._arithmetic = replace(dense, kept=kept)
            try:
                yield
            finally:
                self._arithmetic = dense

    def _run(self, trial: RemovalTrial) -> Observed:
        with torch.no_grad():
            return trial.run(self._model, self._arithmetic)


class _FailsMaskedError(Exception):
    """The model runs, but not with channels at zero."""

    def __init__(self, original: Exception) -> None:
        super().__init__()
        self.original = original


def layout_without(
    groups: Sequence[ChannelGroup], members: Iterable[int], removals: Sequence[Tensor]
) -> Layout:
    """Some groups without the channels that they lose, the others whole."""
    kept = Layout.dense(groups).kept
    for index in members:
        kept[index][removals[index]] = False
    return Layout(kept)


def failure_of(error: Exception, model: nn.Module) -> Fault:
    """Why a group has to stay whose removal breaks the forward; with the line that breaks."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = {id(module): name for name, module in model.named_modules()}
    running = [names.get(id(frame.f_locals.get("self")), "") for frame in reversed(frames)]
    theirs = [
        line
        for line in traceback.extract_tb(error.__traceback__)
        if line.line and not any(Path(line.filename).is_relative_to(each) for each in _NOT_THEIRS)
    ]
    where = ""
    if theirs:
        where = f", at {theirs[-1].line} in {Path(theirs[-1].filename).name}:{theirs[-1].lineno}"
    return Fault(
        f"the forward fails without its channels ({first_line(error)}{where})",
        tuple(name for name in running if name),
    )
