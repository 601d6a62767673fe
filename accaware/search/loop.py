"""The two searches over compression rates. They know numbers only; the model stays opaque."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from accaware.errors import UsageError
from accaware.search.budget import AccuracyBudget
from accaware.search.callbacks import TrainingCallbacks
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    RateKnown,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)
from accaware.search.observers import TensorBoardObserver
from accaware.search.params import AdaptiveParams, EarlyExitParams
from accaware.search.ports import CompressionController, Observer, Runner, SearchConfig
from accaware.search.result import Best, SearchResult, SearchStatus, StopReason
from accaware.search.statistics import TrainingLoopStatistics
from accaware.search.strategy import Bounds, Propose, Stop, uniform_decrease
from accaware.search.trial import Checkpoint, Epoch, History, Trial, TrialPhase, TrialState


class _TrialRecord:
    """A trial while it runs: its epochs, its best one so far, and why it ended."""

    def __init__(self, *, number: int, phase: TrialPhase, target: float, lr_factor: float) -> None:
        self.number = number
        self.phase = phase
        self.target = target
        self.lr_factor = lr_factor
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.checkpoint: Checkpoint | None = None
        self.failure: str | None = None
        self.stopped_by_user = False

    def closed(self, budget: AccuracyBudget, rate: float) -> Trial:
        """The judged trial; ``rate`` stands in where no epoch was judged at full compression."""
        metric = self.best.metric if self.best else None
        if budget.admits(metric):
            state = TrialState.WITHIN_BUDGET
            reason = "within budget" + (f", then {self.failure}" if self.failure else "")
        elif self.failure or metric is None:
            state = TrialState.FAILED
            reason = self.failure or "never validated at full compression"
        else:
            state = TrialState.NOT_WITHIN_BUDGET
            reason = f"beyond the limit by {-budget.margin(metric):.4g}"
        return Trial(
            number=self.number,
            phase=self.phase,
            target_rate=self.target,
            compression_rate=self.best.compression_rate if self.best else rate,
            lr_factor=self.lr_factor,
            epochs=tuple(self.epochs),
            metric=metric,
            best_epoch=self.best.number if self.best else None,
            state=state,
            reason=reason,
            checkpoint=self.checkpoint,
        )


class _TrainingLoop:
    """What both modes share: running and judging epochs, and concluding."""

    def __init__(
        self,
        config: SearchConfig,
        controller: CompressionController,
        uncompressed_model_accuracy: float,
        *,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._params = config.accuracy_aware_training
        self._controller = controller
        self._budget = AccuracyBudget.from_params(
            self._params, uncompressed_model_accuracy, config.higher_is_better
        )
        self._observers = list(observers)
        self._history = History()
        self._record: _TrialRecord | None = None
        self._epochs = 0
        self._untouched = Checkpoint("")
        self._result: SearchResult | None = None

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
        self.drive(self._controller.create_runner(model, callbacks, log_dir))
        return model

    def drive(self, runner: Runner) -> SearchResult:
        """Search with a ready-made Runner; it holds the best model afterwards.

        On any exception, a KeyboardInterrupt too, ``result`` tells what had been found by then
        (its best metric is the trial's, not validated again), and the exception goes on.
        """
        self._history, self._record, self._epochs, self._result = History(), None, 0, None
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
    ) -> _TrialRecord:
        number = len(self._history.trials)
        rate = self._controller.compression_rate
        origin = start.number if start else None
        self._emit(TrialStarted(number, phase, target, rate, epochs, lr_factor, origin))
        self._record = _TrialRecord(number=number, phase=phase, target=target, lr_factor=lr_factor)
        return self._record

    def _close(self, record: _TrialRecord) -> Trial:
        trial = record.closed(self._budget, self._controller.compression_rate)
        self._history = self._history.with_trial(trial)
        self._record = None
        self._emit(TrialFinished(trial))
        return trial

    def _run_epoch(
        self, runner: Runner, record: _TrialRecord, *, last: bool, fully_compressed: bool
    ) -> Epoch:
        """Train one epoch, validate where it is due, and keep it where it is the best."""
        self._epochs += 1
        self._emit(EpochStarted(record.number, self._epochs))
        began = time.perf_counter()
        loss = runner.train_epoch(self._epochs - 1)
        in_trial = sum(epoch.number > 0 for epoch in record.epochs) + 1
        due = last or in_trial % self._params.validate_every_n_epochs == 0
        if loss is not None and not math.isfinite(loss):
            record.failure = f"the loss is {loss} in epoch {self._epochs}"
            due = False
        return self._judge(runner, record, loss, due, fully_compressed, began)

    def _judge(
        self,
        runner: Runner,
        record: _TrialRecord,
        loss: float | None,
        due: bool,
        fully_compressed: bool,
        began: float,
    ) -> Epoch:
        metric = runner.validate(max(self._epochs - 1, 0)) if due else None
        epoch = Epoch(
            number=self._epochs,
            compression_rate=self._controller.compression_rate,
            fully_compressed=fully_compressed,
            loss=loss,
            metric=metric,
            seconds=time.perf_counter() - began,
        )
        record.epochs.append(epoch)
        if metric is not None and not math.isfinite(metric):
            record.failure = f"the metric is {metric} in epoch {self._epochs}"
        elif metric is not None and fully_compressed:
            best = record.best.metric if record.best else None
            if self._budget.better(metric, than=best):
                record.best = epoch
                record.checkpoint = runner.save(f"trial-{record.number}")
        if self._epochs and not record.failure:
            runner.end_epoch(self._epochs - 1, loss, metric)
            if metric is not None and fully_compressed:
                record.stopped_by_user = runner.asks_to_stop(metric)
        self._emit(EpochFinished(record.number, epoch))
        return epoch

    # The end ------------------------------------------------------------------------------

    def _candidates(self) -> list[Trial]:
        """Trials worth handing over, best first: within budget by rate, then the best efforts."""

        def rank(trial: Trial) -> tuple[bool, float, float]:
            margin = self._budget.margin(trial.metric) if trial.metric is not None else -math.inf
            if trial.within_budget:
                return True, trial.compression_rate, margin
            return False, margin, trial.compression_rate

        judged = (trial for trial in self._history.trials if trial.checkpoint is not None)
        return sorted(judged, key=rank, reverse=True)

    def _conclude(self, runner: Runner, stop: StopReason) -> SearchResult:
        """Load the best, validate it again, and report that number."""
        effort: tuple[Trial, float] | None = None
        for trial in self._candidates():
            if effort and not trial.within_budget:
                break  # every candidate within budget failed its second validation
            assert trial.checkpoint is not None
            runner.load(trial.checkpoint)
            metric = runner.validate(max(self._epochs - 1, 0))
            if self._budget.admits(metric):
                return self._summary(stop, trial, metric)
            if math.isfinite(metric) and self._budget.better(metric, effort and effort[1]):
                effort = trial, metric
        if effort is None:
            runner.load(self._untouched)
            return self._summary(stop, None, None)
        trial, metric = effort
        assert trial.checkpoint is not None
        runner.load(trial.checkpoint)
        return self._summary(stop, trial, metric)

    def _unfinished(self, stop: StopReason) -> SearchResult:
        """What had been found when an exception ended the search."""
        if self._record is not None:
            self._record.failure = self._record.failure or stop.value
            trial = self._record.closed(self._budget, self._controller.compression_rate)
            self._history, self._record = self._history.with_trial(trial), None
        best = next(iter(self._candidates()), None)
        return self._summary(stop, best, best.metric if best else None)

    def _summary(self, stop: StopReason, trial: Trial | None, metric: float | None) -> SearchResult:
        best = None
        if trial is not None and metric is not None:
            assert trial.best_epoch is not None
            assert trial.checkpoint is not None
            best = Best(
                trial=trial.number,
                target_rate=trial.target_rate,
                compression_rate=trial.compression_rate,
                metric=metric,
                absolute_degradation=self._budget.absolute_degradation(metric),
                relative_degradation=self._budget.relative_degradation(metric),
                epoch=trial.best_epoch,
                checkpoint=trial.checkpoint,
            )
        within = self._budget.admits(metric)
        return SearchResult(
            status=SearchStatus.WITHIN_BUDGET if within else SearchStatus.NOT_WITHIN_BUDGET,
            stop_reason=stop,
            budget=self._budget,
            best=best,
            trials=self._history.trials,
            epochs=self._epochs,
        )


class AdaptiveCompressionTrainingLoop(_TrainingLoop):
    """Searches the highest compression rate whose fine-tuned model stays within budget.

    Args:
        config: has an ``accuracy_aware_training`` section of mode adaptive_compression_level.
        controller: compresses the model to a rate; from ``create_compressed_model``.
        uncompressed_model_accuracy: the baseline, measured on the untouched model.
        observers: told of every event; TensorBoard, a console, a journal.
    """

    def __init__(
        self,
        config: SearchConfig,
        controller: CompressionController,
        uncompressed_model_accuracy: float,
        *,
        observers: Iterable[Observer] = (),
    ) -> None:
        super().__init__(config, controller, uncompressed_model_accuracy, observers=observers)
        if not isinstance(self._params, AdaptiveParams):
            raise UsageError(
                "AdaptiveCompressionTrainingLoop needs mode adaptive_compression_level, "
                "but the config's mode is early_exit"
            )
        self._adaptive = self._params
        reachable = math.floor(controller.maximal_compression_rate * 1e6) / 1e6
        self._bounds = Bounds(
            min(self._adaptive.minimal_compression_rate, reachable),
            min(self._adaptive.maximal_compression_rate, reachable),
        )

    def _search(self, runner: Runner) -> StopReason:
        self._emit(SearchStarted(self._budget, self._bounds.maximal))
        self._untouched = runner.save("untouched")
        if self._initial_phase(runner):
            return StopReason.STOPPED_BY_USER_FUNCTION
        while True:
            decision = uniform_decrease(self._history, self._adaptive, self._bounds)
            if isinstance(decision, Stop):
                return decision.reason
            if self._answered(decision.rate):
                continue
            if self._epochs_left <= 0:
                return StopReason.EPOCHS_SPENT
            if self._trial(runner, decision):
                return StopReason.STOPPED_BY_USER_FUNCTION

    def _initial_phase(self, runner: Runner) -> bool:
        """Train with the compression section's schedule; judged where fully compressed."""
        scheduler = self._controller.scheduler
        epochs = min(self._adaptive.initial_training_phase_epochs, self._epochs_left)
        runner.start(1.0)
        record = self._open(TrialPhase.INITIAL, scheduler.target, epochs, 1.0, None)
        for remaining in reversed(range(epochs)):
            scheduler.epoch_step()
            epoch = self._run_epoch(
                runner,
                record,
                last=remaining == 0,
                fully_compressed=scheduler.fully_compressed,
            )
            if self._trial_is_over(record, epoch):
                break
            if epoch.metric is not None:
                scheduler.observe(self._budget.admits(epoch.metric))
        if not scheduler.fully_compressed and not record.failure:
            record.failure = (
                f"the schedule did not reach its target {scheduler.target:g} in {epochs} epochs"
            )
        scheduler.disable()
        self._tidy(runner, self._close(record))
        return record.stopped_by_user

    def _trial_is_over(self, record: _TrialRecord, epoch: Epoch) -> bool:
        satisfied = (
            self._adaptive.stop_trial_when_within_budget
            and epoch.fully_compressed
            and self._budget.admits(epoch.metric)
        )
        return satisfied or record.failure is not None or record.stopped_by_user

    def _answered(self, target: float) -> bool:
        """Whether an earlier trial of this very target answers it; records that it does."""
        known = self._history.known(target)
        if known is None:
            return False
        self._know(target, known.trial)
        return True

    def _know(self, target: float, trial: int | None) -> None:
        rate = 0.0 if trial is None else self._history.trials[trial].compression_rate
        self._history = self._history.with_known(target, trial)
        self._emit(RateKnown(target, rate, trial))

    def _trial(self, runner: Runner, proposal: Propose) -> bool:
        """Fine-tune at one rate, unless its layout was already judged under another target."""
        start = self._history.start_for(proposal.rate)
        origin = start.checkpoint if start else None
        runner.load(origin or self._untouched)
        self._controller.compression_rate = proposal.rate
        rate = self._controller.compression_rate
        same = self._history.achieved(rate)
        if same is not None or rate == 0:
            self._know(proposal.rate, same.number if same else None)
            return False

        runner.start(proposal.lr_factor)
        epochs = min(self._adaptive.patience_epochs, self._epochs_left)
        record = self._open(TrialPhase.SEARCH, proposal.rate, epochs, proposal.lr_factor, start)
        for remaining in reversed(range(epochs)):
            epoch = self._run_epoch(runner, record, last=remaining == 0, fully_compressed=True)
            if self._trial_is_over(record, epoch):
                break
        self._tidy(runner, self._close(record))
        return record.stopped_by_user

    def _tidy(self, runner: Runner, latest: Trial) -> None:
        """Drop checkpoints that nobody can ask for again.

        Trials within budget stay: later ones start from them. Of the others only the best
        effort stays, and that only while nothing is within budget.
        """
        keep = {trial.number for trial in self._history.trials if trial.within_budget}
        if not keep:
            keep = {trial.number for trial in self._candidates()[:1]}
        trials = []
        for trial in self._history.trials:
            if trial.checkpoint is not None and trial.number not in keep:
                runner.discard(trial.checkpoint)
                trial = replace(trial, checkpoint=None)
            trials.append(trial)
        self._history = replace(self._history, trials=tuple(trials))


class EarlyExitCompressionTrainingLoop(_TrainingLoop):
    """Trains with the schedule until the model is fully compressed and within budget.

    The arguments are those of :class:`AdaptiveCompressionTrainingLoop`.
    """

    def __init__(
        self,
        config: SearchConfig,
        controller: CompressionController,
        uncompressed_model_accuracy: float,
        *,
        observers: Iterable[Observer] = (),
    ) -> None:
        super().__init__(config, controller, uncompressed_model_accuracy, observers=observers)
        if not isinstance(self._params, EarlyExitParams):
            raise UsageError(
                "EarlyExitCompressionTrainingLoop needs mode early_exit, "
                "but the config's mode is adaptive_compression_level"
            )

    def _search(self, runner: Runner) -> StopReason:
        scheduler = self._controller.scheduler
        self._emit(SearchStarted(self._budget, scheduler.target))
        self._untouched = runner.save("untouched")
        runner.start(1.0)
        total = self._params.maximal_total_epochs
        record = self._open(TrialPhase.INITIAL, scheduler.target, total, 1.0, None)
        scheduler.epoch_step()
        epoch = self._judge(
            runner, record, None, True, scheduler.fully_compressed, time.perf_counter()
        )
        while not self._finished(record, epoch):
            if record.epochs[-1].number > 0:
                scheduler.epoch_step()
            epoch = self._run_epoch(
                runner,
                record,
                last=self._epochs_left == 1,
                fully_compressed=scheduler.fully_compressed,
            )
            if epoch.metric is not None:
                scheduler.observe(self._budget.admits(epoch.metric))
        trial = self._close(record)
        if trial.within_budget:
            return StopReason.WITHIN_BUDGET
        if record.stopped_by_user:
            return StopReason.STOPPED_BY_USER_FUNCTION
        return StopReason.FAILED if record.failure else StopReason.EPOCHS_SPENT

    def _finished(self, record: _TrialRecord, epoch: Epoch) -> bool:
        arrived = epoch.fully_compressed and self._budget.admits(epoch.metric)
        failed = record.failure is not None or record.stopped_by_user
        return arrived or failed or self._epochs_left <= 0


def create_accuracy_aware_training_loop(
    config: SearchConfig,
    controller: CompressionController,
    uncompressed_model_accuracy: float,
    *,
    observers: Iterable[Observer] = (),
) -> AdaptiveCompressionTrainingLoop | EarlyExitCompressionTrainingLoop:
    """The loop of the config's ``accuracy_aware_training.mode``; arguments as of the loops."""
    adaptive = isinstance(config.accuracy_aware_training, AdaptiveParams)
    loop = AdaptiveCompressionTrainingLoop if adaptive else EarlyExitCompressionTrainingLoop
    return loop(config, controller, uncompressed_model_accuracy, observers=observers)
