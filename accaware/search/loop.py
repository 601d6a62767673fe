"""The two searches over compression rates. They know numbers only; the model stays opaque."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from accaware.errors import UsageError
from accaware.search.events import EpochFinished, RateKnown, RoundFinished, TrialFinished
from accaware.search.history import Step
from accaware.search.metric import BaselineMetric
from accaware.search.params import AdaptiveParams, EarlyExitParams, SearchParams
from accaware.search.ports import CompressionController, Observer, Runner, SearchConfig
from accaware.search.result import StopReason
from accaware.search.strategies.descent import Descent
from accaware.search.strategies.ramp import Ramp
from accaware.search.strategies.strategy import (
    Answered,
    Bounds,
    FollowSchedule,
    Propose,
    ProposeSeveral,
    Stop,
    Strategy,
    on_grid,
)
from accaware.search.strategies.uniform_decrease import UniformDecrease
from accaware.search.training_loop import TrainingLoop
from accaware.search.trial import Epoch, TrialPhase, TrialRecord
from accaware.search.trials.executor import TrialExecutor


class AdaptiveCompressionTrainingLoop(TrainingLoop):
    """Searches the highest compression rate whose fine-tuned model stays within budget.

    Args:
        config: has an ``accuracy_aware_training`` section of mode adaptive_compression_level.
        controller: compresses the model to a rate; from ``create_compressed_model``.
        uncompressed_model_accuracy: the baseline, measured on the dense model; a ``Metric`` where
            its samples are known.
        confirmation_baseline: the same on the data that confirm the final model, where the
            config has a ``confirmation``.
        observers: told of every event; TensorBoard, a console, a journal.
        clock: seconds from some moment on, for the epochs' times.
        executor: runs the trials where the config has ``parallel_trials``; None where it hasn't.

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
        self._strategy: Strategy = UniformDecrease(params, self._bounds, self._budget)
        if params.strategy == "ramp":
            self._strategy = Ramp(params, self._bounds, self._budget)

    def _search(self, runner: Runner) -> StopReason:
        most = self._strategy.most_epochs
        if self._params.confirmation is not None:
            most += Descent(self._adaptive, self._bounds).most_epochs
        self._announce(self._bounds.maximal, min(most, self._params.maximal_total_epochs))
        self._baseline_weights = runner.save("untouched")
        return self._follow(runner)

    def _search_below(self, runner: Runner) -> StopReason:
        self._strategy = Descent(self._adaptive, self._bounds)
        return self._follow(runner)

    def _follow(self, runner: Runner) -> StopReason:
        """Do what the strategy decides, until it stops or its epochs are spent."""
        stopped = False
        while not stopped:
            match self._strategy.decide(self._history):
                case Stop(reason):
                    return reason
                case Answered(step):
                    self._know(step)
                case _ if self._epochs_left <= 0:
                    return StopReason.EPOCHS_SPENT
                case FollowSchedule(epochs):
                    stopped = self._initial_phase(runner, epochs)
                case Propose() as proposal if self._rounds is None:
                    stopped = self._trial(runner, proposal)
                case Propose() as proposal:
                    stopped = self._round(runner, [proposal])
                case ProposeSeveral(proposals):
                    stopped = self._round(runner, proposals[: self._epochs_left])
        return StopReason.STOPPED_BY_USER_FUNCTION

    def _initial_phase(self, runner: Runner, epochs: int) -> bool:
        """Train with the compression section's schedule; judged where fully compressed.

        Returns:
            Whether the user's early stopping ended it.
        """
        scheduler = self._controller.scheduler
        epochs = min(epochs, self._epochs_left)
        lr_factor = self._params.learning_rate_factor
        runner.start(lr_factor)
        record = self._open(TrialPhase.INITIAL, on_grid(scheduler.target), epochs, lr_factor, None)
        for remaining in reversed(range(epochs)):
            scheduler.epoch_step()
            self._training.anneal(epochs - 1 - remaining, epochs)
            epoch = self._run_epoch(
                runner,
                record,
                last=remaining == 0,
                fully_compressed=scheduler.fully_compressed,
            )
            passed = self._adaptive.stop_trial_when_within_budget and self._training.has_passed(
                epoch
            )
            if passed or record.is_broken_off:
                break
            if epoch.metric is not None:
                scheduler.observe(self._budget.admits(epoch.metric, epoch.standard_error))
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
        start = None if proposal.start is None else self._history.trials[proposal.start]
        if not self._history.trials:
            self._controller.scheduler.disable()
        self._load(runner, start)
        self._controller.compression_rate = proposal.rate
        same = self._history.achieved(proposal.rate, self._controller.compression_rate)
        if same is not None and not proposal.again:
            self._know(same)
            return False
        runner.start(proposal.lr_factor)
        epochs = min(proposal.epochs, self._epochs_left)
        record = self._open(proposal.phase, proposal.rate, epochs, proposal.lr_factor, start)
        for remaining in reversed(range(epochs)):
            self._training.anneal(epochs - 1 - remaining, epochs)
            epoch = self._run_epoch(runner, record, last=remaining == 0, fully_compressed=True)
            if self._training.is_over(
                record,
                epoch,
                remaining,
                ends_within_budget=proposal.ends_within_budget,
                gives_up=proposal.gives_up,
            ):
                break
        self._close(record)
        self._tidy(runner)
        return record.stopped_by_user

    def _round(self, runner: Runner, proposals: Sequence[Propose]) -> bool:
        """Have trials run side by side.

        Returns:
            Whether the user's early stopping ended one of them.
        """
        rounds = self._rounds
        assert rounds is not None
        outcome = rounds.run(
            proposals,
            self._history,
            untouched=self._baseline_weights,
            rules=self._training.rules,
            epochs_left=self._epochs_left,
        )
        self._history = outcome.added_to(self._history)
        for trial in outcome.trials:
            self._training.epochs += len(trial.epochs)
            self._emit(TrialFinished(trial))
        self._tidy(runner)
        self._emit(RoundFinished(tuple(trial.number for trial in outcome.trials), self._epochs))
        rounds.forget(outcome)
        return outcome.stopped_by_user

    def _wanted(self) -> frozenset[int]:
        return self._strategy.wanted(self._history)

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
        target, total = on_grid(scheduler.target), self._params.maximal_total_epochs
        self._announce(scheduler.target, total)
        self._baseline_weights = runner.save("untouched")
        lr_factor = self._params.learning_rate_factor
        runner.start(lr_factor)
        record = self._open(TrialPhase.INITIAL, target, total, lr_factor, None)
        scheduler.epoch_step()
        epoch = self._validate_before_training(runner, record)
        while not self._is_over(record, epoch):
            if self._epochs:
                scheduler.epoch_step()
            self._training.anneal(self._epochs, total)
            epoch = self._run_epoch(
                runner,
                record,
                last=self._epochs_left == 1,
                fully_compressed=scheduler.fully_compressed,
            )
            if epoch.metric is not None:
                scheduler.observe(self._budget.admits(epoch.metric, epoch.standard_error))
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
        fully_compressed = self._controller.scheduler.fully_compressed
        measured = self._training.validated(0)
        epoch = Epoch(
            number=0,
            fully_compressed=fully_compressed,
            metric=measured.value,
            standard_error=measured.standard_error,
            compression_rate=self._controller.compression_rate,
            model_sparsity=self._controller.model_sparsity,
            seconds=self._clock() - began,
        )
        self._training.judge(record, epoch)
        self._emit(EpochFinished(record.number, epoch))
        return epoch

    def _is_over(self, record: TrialRecord, epoch: Epoch) -> bool:
        arrived = self._training.has_passed(epoch)
        return arrived or record.is_broken_off or self._epochs_left <= 0


def create_accuracy_aware_training_loop(
    config: SearchConfig,
    controller: CompressionController,
    uncompressed_model_accuracy: float | BaselineMetric,
    *,
    confirmation_baseline: float | BaselineMetric | None = None,
    observers: Iterable[Observer] = (),
    clock: Callable[[], float] = time.perf_counter,
    executor: TrialExecutor | None = None,
) -> AdaptiveCompressionTrainingLoop | EarlyExitCompressionTrainingLoop:
    """The loop of the config's ``accuracy_aware_training.mode``; arguments as of the loops."""
    adaptive = isinstance(config.accuracy_aware_training, AdaptiveParams)
    loop = AdaptiveCompressionTrainingLoop if adaptive else EarlyExitCompressionTrainingLoop
    return loop(
        config,
        controller,
        uncompressed_model_accuracy,
        confirmation_baseline=confirmation_baseline,
        observers=observers,
        clock=clock,
        executor=executor,
    )
