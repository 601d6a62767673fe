"""What both searches share: running and judging epochs, and concluding."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from accaware.errors import UsageError
from accaware.search.budget import AccuracyBudget
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    SearchFinished,
    TrialFinished,
    TrialStarted,
    Warned,
)
from accaware.search.observers import PythonWarnings, TensorBoardObserver
from accaware.search.params import SearchParams
from accaware.search.ports import (
    CompressionController,
    Observer,
    Runner,
    SearchConfig,
    TrainingCallbacks,
)
from accaware.search.result import (
    Best,
    SearchResult,
    SearchStatus,
    StopReason,
    TrainingLoopStatistics,
)
from accaware.search.trial import Checkpoint, Epoch, History, Trial, TrialPhase, TrialRecord

_KEPT_TRIALS = 2
"""Of those within budget, whose weights are kept, so that the disk they take is bounded."""

SEARCHED = (
    "a model, its controller and their loop search once: the model isn't the dense one any "
    "more, and the schedule is at its end. To search again, create the model anew, call "
    "create_compressed_model with it, and make a loop for the new controller"
)


class TrainingLoop:
    """A search over numbers: rates, metrics, epochs. The model stays opaque."""

    def __init__(
        self,
        config: SearchConfig,
        controller: CompressionController,
        uncompressed_model_accuracy: float,
        *,
        observers: Iterable[Observer] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._controller = controller
        self._baseline = float(uncompressed_model_accuracy)
        self._higher_is_better = config.higher_is_better
        self._maximal_rate = controller.maximal_compression_rate
        self.adopt(config.accuracy_aware_training)
        self._observers = list(observers)
        self._clock = clock
        self._history = History()
        self._record: TrialRecord | None = None
        self._epochs = 0
        self._baseline_weights = Checkpoint("")
        self._runner: Runner | None = None
        self._result: SearchResult | None = None

    def adopt(self, params: SearchParams) -> None:
        """Search by other parameters from here on; a trial that runs keeps its epochs.

        Raises:
            UsageError: they are of the other mode, or a number in them is out of range.
        """
        params.check()
        self._params = params
        self._budget = AccuracyBudget.from_params(params, self._baseline, self._higher_is_better)

    def run(
        self,
        model: Any,
        train_epoch_fn: Callable[..., float | None],
        validate_fn: Callable[..., float],
        configure_optimizers_fn: Callable[[], Any],
        dump_checkpoint_fn: Callable[..., Any] | None = None,
        load_checkpoint_fn: Callable[..., Any] | None = None,
        early_stopping_fn: Callable[[float], bool] | None = None,
        update_learning_rate_fn: Callable[..., None] | None = None,
        tensorboard_writer: Any = None,
        log_dir: str | None = None,
    ) -> Any:
        """Search, and return ``model`` as the best one found.

        The functions are those of :class:`TrainingCallbacks`. ``log_dir`` keeps checkpoints;
        without it they live in a temporary folder for as long as the loop does.

        Raises:
            UsageError: this loop has searched before, or another one has with its controller.
            PluginFailure: one of the functions raised; what was earned stays in ``result``.
        """
        callbacks = TrainingCallbacks(
            train_epoch_fn=train_epoch_fn,
            validate_fn=validate_fn,
            configure_optimizers_fn=configure_optimizers_fn,
            dump_checkpoint_fn=dump_checkpoint_fn,
            load_checkpoint_fn=load_checkpoint_fn,
            early_stopping_fn=early_stopping_fn,
            update_learning_rate_fn=update_learning_rate_fn,
        )
        if tensorboard_writer is not None:
            self._observers.append(TensorBoardObserver(tensorboard_writer))
        self._observers.append(PythonWarnings())
        self.drive(self._controller.create_runner(model, callbacks, log_dir))
        return model

    def drive(self, runner: Runner) -> SearchResult:
        """Search with a ready-made Runner; it holds the best model afterwards.

        On any exception, a KeyboardInterrupt too, ``result`` tells what had been found by then
        (its best metric is the trial's, not validated again), and the exception goes on.

        Raises:
            UsageError: this loop has searched before.
        """
        if self._runner is not None:
            raise UsageError(SEARCHED)
        self._runner = runner  # lives, and its checkpoints with it, as long as the loop
        self._baseline = runner.agree(self._baseline)
        self.adopt(self._params)
        try:
            stop = self._search(runner)
            self._result = self._conclude(runner, stop)
        except KeyboardInterrupt:
            self._result = self._unfinished(StopReason.INTERRUPTED)
            raise
        except BaseException:
            self._result = self._unfinished(StopReason.FAILED)
            raise
        self._emit(SearchFinished(self._result))
        return self._result

    @property
    def result(self) -> SearchResult:
        """The typed outcome.

        Raises:
            UsageError: the loop hasn't been run.
        """
        if self._result is None:
            raise UsageError("there is no result yet: call run() first")
        return self._result

    @property
    def statistics(self) -> TrainingLoopStatistics:
        """The outcome under NNCF's names."""
        return TrainingLoopStatistics.of(self.result)

    # One trial at a time -----------------------------------------------------------------

    def _search(self, runner: Runner) -> StopReason:
        raise NotImplementedError

    @property
    def _epochs_left(self) -> int:
        return self._params.maximal_total_epochs - self._epochs

    def _emit(self, event: Event) -> None:
        for observer in self._observers:
            observer.notify(event)

    def _open(
        self, phase: TrialPhase, target: float, epochs: int, lr_factor: float, start: Trial | None
    ) -> TrialRecord:
        number, rate = len(self._history.trials), self._controller.compression_rate
        origin = start.number if start else None
        self._record = record = TrialRecord(
            number=number, phase=phase, target=target, lr_factor=lr_factor, rate=rate, start=origin
        )
        self._emit(TrialStarted(number, phase, target, rate, epochs, lr_factor, origin))
        return record

    def _run_epoch(
        self, runner: Runner, record: TrialRecord, *, last: bool, fully_compressed: bool
    ) -> Epoch:
        """Train one epoch, validate where it is due, and keep it where it is the best."""
        number = self._epochs + 1
        self._emit(EpochStarted(record.number, number))
        began = self._clock()
        loss = runner.train_epoch(number - 1)
        self._epochs = number
        due = last or (record.trained + 1) % self._params.validate_every_n_epochs == 0
        sound = loss is None or math.isfinite(loss)
        epoch = Epoch(
            number=number,
            fully_compressed=fully_compressed,
            loss=loss,
            metric=runner.validate(number - 1) if due and sound else None,
            compression_rate=self._controller.compression_rate,
            seconds=self._clock() - began,
        )
        for message in runner.warnings():
            self._emit(Warned(message))
        self._judge(runner, record, epoch)
        if record.failure is None:
            runner.end_epoch(number - 1, loss, epoch.metric)
            if epoch.metric is not None and fully_compressed:
                record.stopped_by_user = runner.asks_to_stop(epoch.metric)
        self._emit(EpochFinished(record.number, epoch))
        return epoch

    def _anneal(self, runner: Runner, epoch: int, epochs: int) -> None:
        """Where the learning rate falls within a trial, give it that of an epoch, from 0."""
        if self._params.trial_learning_rate == "cosine":
            runner.anneal((1 + math.cos(math.pi * epoch / epochs)) / 2)

    def _judge(self, runner: Runner, record: TrialRecord, epoch: Epoch) -> None:
        if record.add(epoch, self._budget):
            record.keep(epoch, runner.save(f"trial-{record.number}"))

    def _close(self, record: TrialRecord) -> Trial:
        trial = record.closed(self._budget)
        self._history = self._history.with_trial(trial)
        self._record = None
        self._emit(TrialFinished(trial))
        return trial

    def _tidy(self, runner: Runner) -> None:
        """Drop checkpoints that nobody can ask for again.

        Of the trials within budget the best two stay: later ones start from the best, or from
        the other one where a coarse layout achieves more than they ask for; and the other one is
        handed over where the best doesn't hold. Of the others only the best effort stays, and
        that only while nothing is within budget.
        """
        ranked = self._history.ranked(self._budget)
        passed = [trial for trial in ranked if trial.within_budget]
        keep = {trial.number for trial in passed[:_KEPT_TRIALS] or ranked[:1]} | self._wanted()
        trials = []
        for trial in self._history.trials:
            if trial.checkpoint is not None and trial.number not in keep:
                runner.discard(trial.checkpoint)
                trial = replace(trial, checkpoint=None)
            trials.append(trial)
        self._history = replace(self._history, trials=tuple(trials))

    def _wanted(self) -> frozenset[int]:
        """The trials whose weights the search itself may still want."""
        return frozenset()

    # The end ------------------------------------------------------------------------------

    def _conclude(self, runner: Runner, stop: StopReason) -> SearchResult:
        """Load the best, validate it again, and report that number.

        Where the second validation disagrees and is beyond the limit, the next trial whose
        weights are kept gets its turn; where all do, the best of them is the effort handed over.
        """
        effort: tuple[Trial, float] | None = None
        for trial in self._history.ranked(self._budget):
            self._load(runner, trial)
            metric = runner.validate(max(self._epochs - 1, 0))
            if self._budget.admits(metric):
                return self._summary(stop, trial, metric)
            if math.isfinite(metric) and self._budget.better(metric, effort and effort[1]):
                effort = trial, metric
        if effort is None:
            runner.load(self._baseline_weights)
            return self._summary(stop, None, None)
        self._load(runner, effort[0])
        return self._summary(stop, *effort)

    def _load(self, runner: Runner, trial: Trial | None) -> None:
        """Bring back a trial's best weights, or the baseline model's."""
        checkpoint = self._baseline_weights if trial is None else trial.checkpoint
        assert checkpoint is not None
        runner.load(checkpoint)

    def _unfinished(self, stop: StopReason) -> SearchResult:
        """What had been found when an exception ended the search. Asks nobody: they may raise."""
        if self._record is not None:
            self._record.failure = self._record.failure or stop.value
            self._history = self._history.with_trial(self._record.closed(self._budget))
            self._record = None
        best = next(iter(self._history.ranked(self._budget)), None)
        return self._summary(stop, best, best.metric if best else None)

    def _summary(self, stop: StopReason, trial: Trial | None, metric: float | None) -> SearchResult:
        within = trial is not None and self._budget.admits(metric)
        return SearchResult(
            status=SearchStatus.WITHIN_BUDGET if within else SearchStatus.NOT_WITHIN_BUDGET,
            stop_reason=stop,
            budget=self._budget,
            best=None if trial is None or metric is None else self._best(trial, metric),
            trials=self._history.trials,
            epochs=self._epochs,
        )

    def _best(self, trial: Trial, metric: float) -> Best:
        assert trial.best_epoch is not None
        assert trial.checkpoint is not None
        return Best(
            trial=trial.number,
            target_rate=trial.target_rate,
            compression_rate=trial.compression_rate,
            metric=metric,
            absolute_degradation=self._budget.absolute_degradation(metric),
            relative_degradation=self._budget.relative_degradation(metric),
            epoch=trial.best_epoch,
            checkpoint=trial.checkpoint,
        )
