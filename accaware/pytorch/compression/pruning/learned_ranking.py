"""Learned ranking: how layers compare is found out by pruning, training a little, validating.

Chin et al., "Towards Efficient Model Compression via Learned Global Ranking" (2020): filters of
all layers are ranked together by ``scale * importance + shift``, with a scale and a shift for
each layer, which an evolution looks for once. The result holds for every rate.

Importances are in units of their layer's root mean square, so that a scale of 1 and a shift of 0
in every layer is the ranking of ``all_weights``, with coupled filters summed and without a bound on
what a layer may lose: the coefficients find the layers' balance. The paper takes squared L2 norms
as they are; there the scales have to learn the layers' magnitudes as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accaware.errors import RunError, UsageError
from accaware.pytorch.compression.pruning import coefficients
from accaware.pytorch.compression.pruning.coefficients import Coefficients
from accaware.pytorch.compression.pruning.dense_state import DenseState
from accaware.pytorch.compression.pruning.evolution import EvolutionSettings, RankingEvolution
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.importance import layer_importances
from accaware.pytorch.data.random_state import RandomState
from accaware.pytorch.distributed.agreement import agreed, is_first
from accaware.pytorch.state.stateful import Stateful
from accaware.search.events import Event, GenerationFinished, RankingStarted
from accaware.search.ports import Observer


@dataclass(frozen=True, kw_only=True)
class RankingCallbacks:
    """How learned ranking trains and judges a candidate: a model pruned by it.

    Attributes:
        train_steps_fn: ``(model, steps)``, trains for that many optimizer steps, with an
            optimizer of its own.
        validate_fn: ``(model)``, returns the metric.
        observers: told of the search's progress.
        parts: what else a training changes (a data loader's generator, say): each candidate
            finds it as it was, and so does what comes after the search. Python's, NumPy's and
            torch's own generators are always among them.
        remember: called with the search, gives what the search does, or did in a run that is
            gone on with: coefficients as JSON data.
    """

    train_steps_fn: Callable[[nn.Module, int], object]
    validate_fn: Callable[[nn.Module], float]
    observers: Sequence[Observer] = ()
    parts: Sequence[Stateful] = ()
    remember: Callable[[Callable[[], Any]], Any] = lambda search: search()


def rank_by_learning(
    pruning: FilterPruning,
    callbacks: RankingCallbacks | None,
    evolution: EvolutionSettings,
    *,
    train_steps: int,
    max_pruning: float,
    load: Path | None = None,
    save: Path | None = None,
) -> None:
    """Give ``pruning`` its coefficients: from a file where ``load`` names one, else learned.

    The model is as it was afterwards, to the bit, and so are the generators of random numbers.

    Args:
        pruning: of a trained model, which is dense; it ranks across layers.
        callbacks: not needed for a file.
        evolution: how candidates come about.
        train_steps: optimizer steps that each candidate is trained for.
        max_pruning: the rate that each candidate is pruned to, in (0, 1).
        load: a file of coefficients.
        save: the file that what was learned is written to.

    Raises:
        UsageError: the file doesn't fit the model, nothing can be learned as asked, or
            ``callbacks`` are missing.
        RunError: no candidate had a metric that is a number.
        OSError: the coefficients can't be saved.
    """

    def found() -> Any:
        if load is not None:
            read = coefficients.read_coefficients(load, pruning.ranked_layers, pruning.importance)
            return coefficients.as_data(read)
        assert callbacks is not None
        if save is not None and is_first():
            coefficients.check_writable(save)
        learned = _learned(_Candidates(pruning, callbacks, train_steps, max_pruning), evolution)
        if save is not None and is_first():
            coefficients.write_coefficients(save, learned, pruning.importance)
        return coefficients.as_data(learned)

    if load is None and callbacks is None:
        raise UsageError(
            "interlayer_ranking_type learned_ranking trains and validates candidates: pass "
            "ranking_callbacks to create_compressed_model, or name a file in "
            "load_ranking_coeffs_path"
        )
    # Of several processes all train and validate the same candidates, as their functions may
    # have to meet; the first one's metrics and file count.
    data = agreed(found() if callbacks is None else callbacks.remember(found))
    pruning.coefficients = coefficients.checked(data, pruning.ranked_layers, "learned ranking")


def _learned(candidates: _Candidates, settings: EvolutionSettings) -> Coefficients:
    generations, layers = settings.generations, candidates.layers
    evolution = RankingEvolution(candidates.spreads(), settings)
    candidates.notify(RankingStarted(generations))
    for number in range(1, generations + 1):
        candidate = evolution.propose()
        metric = candidates.metric(dict(zip(layers, candidate, strict=True)))
        evolution.judge(candidate, metric)
        best = evolution.best and evolution.best[1]
        candidates.notify(GenerationFinished(number, generations, metric, best))
    if evolution.best is None:
        raise RunError(f"learned ranking: the metric was nan for all {generations} candidates")
    return dict(zip(layers, evolution.best[0], strict=True))


class _Candidates:
    """Judges candidates, each from the same weights, on the same batches."""

    def __init__(
        self,
        pruning: FilterPruning,
        callbacks: RankingCallbacks,
        train_steps: int,
        max_pruning: float,
    ) -> None:
        self._pruning = pruning
        self._model = pruning.compact.model
        if max_pruning > pruning.maximal_compression_rate:
            raise UsageError(
                f"legr_params.max_pruning {max_pruning:g} is above the highest rate that "
                f"{type(self._model).__name__} can reach, "
                f"{pruning.maximal_compression_rate:.4g}"
            )
        self._callbacks = callbacks
        self._train_steps = train_steps
        self._max_pruning = max_pruning
        self.layers = pruning.ranked_layers
        device = next(self._model.parameters()).device
        # Generators last: bringing back the others may draw random numbers.
        parts = (*callbacks.parts, RandomState((), device))
        self._dense_state = DenseState(self._model, pruning, parts)
        self._known: dict[tuple[bytes, ...], float] = {}

    def spreads(self) -> list[float]:
        """For each ranked layer the standard deviation of its importances."""
        dense = self._pruning.compact.dense_weights()
        by_layer: Mapping[str, torch.Tensor] = layer_importances(
            self._pruning.groups, dense, self._pruning.importance, comparable=True
        )
        return agreed([float(by_layer[layer].std(correction=0)) for layer in self.layers])

    def metric(self, candidate: Coefficients) -> float:
        """What a model pruned by these coefficients achieves after its few steps."""
        self._pruning.coefficients = candidate
        try:
            self._pruning.set_rate(self._max_pruning)
            layout = tuple(mask.numpy().tobytes() for mask in self._pruning.compact.layout.kept)
            # Two candidates with one layout are one model, and are trained alike.
            if layout not in self._known:
                self._callbacks.train_steps_fn(self._model, self._train_steps)
                self._known[layout] = agreed(float(self._callbacks.validate_fn(self._model)))
            return self._known[layout]
        finally:
            self._dense_state.restore()

    def notify(self, event: Event) -> None:
        for observer in self._callbacks.observers:
            observer.notify(event)
