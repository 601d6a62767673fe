"""The two searches over compression rates. They know numbers only; the model stays opaque."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from accaware.errors import UsageError
from accaware.search.events import EpochFinished, RateKnown, SearchStarted
from accaware.search.params import AdaptiveParams, EarlyExitParams, SearchParams
from accaware.search.ports import CompressionController, Observer, Runner, SearchConfig
from accaware.search.result import StopReason
from accaware.search.strategy import Bounds, Propose, Stop, on_grid, uniform_decrease
from accaware.search.training_loop import TrainingLoop
from accaware.search.trial import Epoch, Step, TrialPhase, TrialRecord


class AdaptiveCompressionTrainingLoop(TrainingLoop):
    """Searches the highest compression rate whose fine-tuned model stays within budget.

    Args:
        config: has an ``accuracy_aware_training`` section of mode adaptive_compression_level.
        controller: compresses the model to a rate; from ``create_compressed_model``.
        uncompressed_model_accuracy: the baseline, measured on the dense model.
        observers: told of every event; TensorBoard, a console, a journal.
        clock: seconds from some moment on, for the epochs' times.

    Raises:
        UsageError: the config is of the other mode, or a number in it is out of range.
    """

    def adopt(self, params: SearchParams) -> None:
        """Go on by these parameters, and by the bounds that follow from them.

        Raises:
            UsageError: they are of the other mode.
        """
        if not isinstance(params, AdaptiveParams):
            raise UsageError(
                "AdaptiveCompressionTrainingLoop needs mode adaptive_compression_level, "
                "but the config's mode is early_exit"
            )
        super().adopt(params)
        self._adaptive = params
        self._bounds = Bounds.of(params, self._maximal_rate)

    def _search(self, runner: Runner) -> StopReason:
        self._emit(SearchStarted(self._budget, self._bounds.maximal))
        self._baseline_weights = runner.save("untouched")
        if self._adaptive.initial_training_phase_epochs == 0:
            self._begin_at_baseline()
        elif self._initial_phase(runner):
            return StopReason.STOPPED_BY_USER_FUNCTION
        while True:
            decision = uniform_decrease(self._history, self._adaptive, self._bounds)
            if isinstance(decision, Stop):
                return decision.reason
            known = self._history.known(decision.rate)
            if known is not None:
                self._know(known)
                continue
            if self._epochs_left <= 0:
                return StopReason.EPOCHS_SPENT
            if self._trial(runner, decision):
                return StopReason.STOPPED_BY_USER_FUNCTION

    def _begin_at_baseline(self) -> None:
        """Without an initial phase the first step goes up from rate 0, which is within budget."""
        self._controller.scheduler.disable()
        self._history = self._history.with_known(Step(0.0, None))

    def _initial_phase(self, runner: Runner) -> bool:
        """Train with the compression section's schedule; judged where fully compressed.

        Returns:
            Whether the user's early stopping ended it.
        """
        scheduler = self._controller.scheduler
        epochs = min(self._adaptive.initial_training_phase_epochs, self._epochs_left)
        runner.start(1.0)
        record = self._open(TrialPhase.INITIAL, on_grid(scheduler.target), epochs, 1.0, None)
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
        if record.failure is None and not record.epochs[-1].fully_compressed:
            record.failure = (
                f"the schedule did not reach its target {scheduler.target:g} in {epochs} epochs"
            )
        scheduler.disable()
        self._close(record)
        self._tidy(runner)
        return record.stopped_by_user

    def _trial(self, runner: Runner, proposal: Propose) -> bool:
        """Fine-tune at one rate, unless its layout was already judged under another target.

        Returns:
            Whether the user's early stopping ended it.
        """
        start = self._history.start_for(proposal.rate)
        self._load(runner, start)
        self._controller.compression_rate = proposal.rate
        same = self._history.achieved(proposal.rate, self._controller.compression_rate)
        if same is not None:
            self._know(same)
            return False
        runner.start(proposal.lr_factor)
        epochs = min(self._adaptive.patience_epochs, self._epochs_left)
        record = self._open(TrialPhase.SEARCH, proposal.rate, epochs, proposal.lr_factor, start)
        for remaining in reversed(range(epochs)):
            epoch = self._run_epoch(runner, record, last=remaining == 0, fully_compressed=True)
            if self._trial_is_over(record, epoch):
                break
        self._close(record)
        self._tidy(runner)
        return record.stopped_by_user

    def _trial_is_over(self, record: TrialRecord, epoch: Epoch) -> bool:
        satisfied = (
            self._adaptive.stop_trial_when_within_budget
            and epoch.fully_compressed
            and self._budget.admits(epoch.metric)
        )
        return satisfied or record.failure is not None or record.stopped_by_user

    def _know(self, step: Step) -> None:
        """Take a step whose answer costs no epoch."""
        trial = step.trial
        rate = 0.0 if trial is None else self._history.trials[trial].compression_rate
        self._history = self._history.with_known(step)
        self._emit(RateKnown(step.target_rate, rate, trial))


class EarlyExitCompressionTrainingLoop(TrainingLoop):
    """Trains with the schedule until the model is fully compressed and within budget.

    The arguments are those of :class:`AdaptiveCompressionTrainingLoop`.
    """

    def adopt(self, params: SearchParams) -> None:
        """Go on by these parameters.

        Raises:
            UsageError: they are of the other mode.
        """
        if not isinstance(params, EarlyExitParams):
            raise UsageError(
                "EarlyExitCompressionTrainingLoop needs mode early_exit, "
                "but the config's mode is adaptive_compression_level"
            )
        super().adopt(params)

    def _search(self, runner: Runner) -> StopReason:
        scheduler = self._controller.scheduler
        self._emit(SearchStarted(self._budget, scheduler.target))
        self._baseline_weights = runner.save("untouched")
        runner.start(1.0)
        target, total = on_grid(scheduler.target), self._params.maximal_total_epochs
        record = self._open(TrialPhase.INITIAL, target, total, 1.0, None)
        scheduler.epoch_step()
        epoch = self._validate_before_training(runner, record)
        while not self._is_over(record, epoch):
            if self._epochs:
                scheduler.epoch_step()
            epoch = self._run_epoch(
                runner,
                record,
                last=self._epochs_left == 1,
                fully_compressed=scheduler.fully_compressed,
            )
            if epoch.metric is not None:
                scheduler.observe(self._budget.admits(epoch.metric))
        scheduler.disable()
        trial = self._close(record)
        if trial.within_budget:
            return StopReason.WITHIN_BUDGET
        if record.stopped_by_user:
            return StopReason.STOPPED_BY_USER_FUNCTION
        return StopReason.FAILED if record.failure else StopReason.EPOCHS_SPENT

    def _validate_before_training(self, runner: Runner, record: TrialRecord) -> Epoch:
        """The first epoch's level may be enough as it is; counted as epoch 0."""
        began = self._clock()
        epoch = Epoch(
            number=0,
            fully_compressed=self._controller.scheduler.fully_compressed,
            metric=runner.validate(0),
            compression_rate=self._controller.compression_rate,
            seconds=self._clock() - began,
        )
        self._judge(runner, record, epoch)
        self._emit(EpochFinished(record.number, epoch))
        return epoch

    def _is_over(self, record: TrialRecord, epoch: Epoch) -> bool:
        arrived = epoch.fully_compressed and self._budget.admits(epoch.metric)
        failed = record.failure is not None or record.stopped_by_user
        return arrived or failed or self._epochs_left <= 0


def create_accuracy_aware_training_loop(
    config: SearchConfig,
    controller: CompressionController,
    uncompressed_model_accuracy: float,
    *,
    observers: Iterable[Observer] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> AdaptiveCompressionTrainingLoop | EarlyExitCompressionTrainingLoop:
    """The loop of the config's ``accuracy_aware_training.mode``; arguments as of the loops."""
    adaptive = isinstance(config.accuracy_aware_training, AdaptiveParams)
    loop = AdaptiveCompressionTrainingLoop if adaptive else EarlyExitCompressionTrainingLoop
    return loop(config, controller, uncompressed_model_accuracy, observers=observers, clock=clock)
