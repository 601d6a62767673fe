"""What both searches share: running and judging epochs, and concluding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from accaware.errors import UsageError
from accaware.search.budget import AccuracyBudget
from accaware.search.conclusion import Candidate, best_effort, summary
from accaware.search.events import (
    ConfirmationFinished,
    EpochFinished,
    EpochStarted,
    Event,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    TrialStarted,
    Warned,
)
from accaware.search.history import History
from accaware.search.metric import (
    BaselineMetric,
    DenseReference,
    DenseReferences,
    Measurement,
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
    ConfirmationResult,
    SearchResult,
    StopReason,
    TrainingLoopStatistics,
)
from accaware.search.trial import Checkpoint, Confirmed, Epoch, Trial, TrialPhase, TrialRecord
from accaware.search.trials.executor import TrialExecutor
from accaware.search.trials.rounds import Rounds
from accaware.search.trials.training import TrialRules, TrialTraining

_KEPT_TRIALS = 2
"""Of those within budget, whose weights are kept, so that the disk they take is bounded."""

_KEPT_FOR_CONFIRMATION = 5
"""The same where the final model is to be confirmed: the best ones may all be too lucky to be."""

CONFIRMATION_BASELINE = (
    "confirmation_baseline, the dense model's metric by confirm_fn, belongs to a config with a "
    "confirmation in accuracy_aware_training.params: give both, or neither"
)

CONFIRM_FN = (
    "confirm_fn, which measures on data that nothing else looks at, belongs to a config with a "
    "confirmation in accuracy_aware_training.params: give both, or neither"
)

PARALLEL_TRIALS = (
    "parallel_trials above 1 needs somebody who runs the trials, and only then: accaware.run and "
    "the command have it; a loop of a script's takes it as executor="
)

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
        uncompressed_model_accuracy: float | BaselineMetric,
        *,
        confirmation_baseline: float | BaselineMetric | None = None,
        observers: Iterable[Observer] = (),
        clock: Callable[[], float] = time.perf_counter,
        executor: TrialExecutor | None = None,
    ) -> None:
        self._controller = controller
        self._rounds = None if executor is None else Rounds(executor, self._emit)
        dense = uncompressed_model_accuracy, confirmation_baseline
        self._references = DenseReferences(
            *(DenseReference(each if isinstance(each, float) else None) for each in dense)
        )
        self._baseline = BaselineMetric.of(uncompressed_model_accuracy)
        self._confirmation_baseline = (
            None if confirmation_baseline is None else BaselineMetric.of(confirmation_baseline)
        )
        self._higher_is_better = config.higher_is_better
        self._maximal_rate = controller.maximal_compression_rate
        self._runner: Runner | None = None
        self.adopt(config.accuracy_aware_training)
        self._observers = list(observers)
        self._clock = clock
        self._history = History()
        self._record: TrialRecord | None = None
        self._baseline_weights = Checkpoint("")
        self._result: SearchResult | None = None

    def adopt(self, params: SearchParams) -> None:
        """Search by other parameters from here on; a trial that runs keeps its epochs.

        Raises:
            UsageError: they are of the other mode, or a number in them is out of range.
        """
        params.check()
        if (params.parallel_trials > 1) != (self._rounds is not None):
            raise UsageError(PARALLEL_TRIALS)
        self._params = params
        self._budget = AccuracyBudget.from_params(params, self._baseline, self._higher_is_better)
        if self._runner is not None:
            self._training.rules = TrialRules.of(params, self._budget)
        self._confirmation_budget: AccuracyBudget | None = None
        confirmed = self._confirmation_baseline
        if (params.confirmation is None) != (confirmed is None):
            raise UsageError(CONFIRMATION_BASELINE)
        if confirmed is not None:
            self._confirmation_budget = AccuracyBudget.from_params(
                params, confirmed, self._higher_is_better
            )

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
        confirm_fn: Callable[..., float] | None = None,
    ) -> Any:
        """Search, and return ``model`` as the best one found.

        The functions are those of :class:`TrainingCallbacks`. ``log_dir`` keeps checkpoints;
        without it they live in a temporary folder for as long as the loop does.

        Raises:
            UsageError: this loop has searched before, or another one has with its controller; or
                ``confirm_fn`` is missing where the config has a ``confirmation``, or is given
                where it has none.
            PluginFailure: one of the functions raised; what was earned stays in ``result``.
        """
        if (self._params.confirmation is None) != (confirm_fn is None):
            raise UsageError(CONFIRM_FN)
        callbacks = TrainingCallbacks(
            train_epoch_fn=train_epoch_fn,
            validate_fn=validate_fn,
            configure_optimizers_fn=configure_optimizers_fn,
            dump_checkpoint_fn=dump_checkpoint_fn,
            load_checkpoint_fn=load_checkpoint_fn,
            early_stopping_fn=early_stopping_fn,
            update_learning_rate_fn=update_learning_rate_fn,
            confirm_fn=confirm_fn,
        )
        if tensorboard_writer is not None:
            self._observers.append(TensorBoardObserver(tensorboard_writer))
        self._observers.append(PythonWarnings())
        create = self._controller.create_runner
        self.drive(create(model, callbacks, log_dir, self._references))
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
        self._confirmation_baseline = runner.agree(self._confirmation_baseline)
        self._training = TrialTraining(
            runner,
            self._controller,
            TrialRules.of(self._params, self._budget),
            name_of=lambda record, epoch: f"trial-{record.number}",
            warn=lambda message: self._emit(Warned(message)),
            clock=self._clock,
        )
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

    def _announce(self, maximal_rate: float, most_epochs: int) -> None:
        """Say that the search begins, and warn where the budget is less than the metric can tell.

        Nothing is known yet of how a compressed model's samples pair with the dense one's, so the
        standard error is that of the dense model's own metric; a paired drop's is often smaller.
        """
        self._emit(
            SearchStarted(self._budget, maximal_rate, most_epochs, self._confirmation_budget)
        )
        for part, dense, budget in (
            ("", self._baseline, self._budget),
            (" on the confirmation part", self._confirmation_baseline, self._confirmation_budget),
        ):
            error = dense.standard_error if dense else None
            if error is not None and budget is not None and budget.tolerance < 2 * error:
                self._emit(Warned(f"the budget{part} {budget.in_doubt(error)}"))

    @property
    def _epochs(self) -> int:
        """Trained so far."""
        return self._training.epochs

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
        """Train and judge one epoch, and tell of it."""
        self._emit(EpochStarted(record.number, self._epochs + 1))
        epoch = self._training.epoch(record, last=last, fully_compressed=fully_compressed)
        self._emit(EpochFinished(record.number, epoch))
        return epoch

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
        that only while nothing is within budget. Where the final model is to be confirmed, five
        within budget stay: each confirms the more surely, the lower its rate.
        """
        ranked = self._history.ranked(self._budget)
        refused = self._history.refused
        passed = [trial for trial in ranked if trial.within_budget and trial.number not in refused]
        most = _KEPT_TRIALS if self._params.confirmation is None else _KEPT_FOR_CONFIRMATION
        keep = {trial.number for trial in passed[:most] or ranked[:1]} | self._wanted()
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
        """Load the best, validate it again, confirm it where that is asked for, and report that.

        Where it doesn't hold, the next trial whose weights are kept gets its turn; but where the
        confirmation refused it, the search may have a better one to offer first. In the end the
        effort handed over is that which came nearest.
        """
        candidates: list[Candidate] = []
        while (trial := self._next_candidate(candidates)) is not None:
            candidates.append(self._candidate(runner, trial))
            if candidates[-1].holds:
                return self._summary(stop, candidates[-1])
            if candidates[-1].trial.number in self._history.refused:
                stop = self._search_below(runner) or stop
        effort = best_effort(candidates)
        self._load(runner, effort.trial if effort else None)
        return self._summary(stop, effort)

    def _next_candidate(self, candidates: Iterable[Candidate]) -> Trial | None:
        """The best trial that wasn't looked at again yet."""
        seen = {candidate.trial.number for candidate in candidates}
        ranked = self._history.ranked(self._budget)
        return next((trial for trial in ranked if trial.number not in seen), None)

    def _search_below(self, runner: Runner) -> StopReason | None:
        """Search on, at lower rates than the confirmation refused; why that ended, if it can.

        There may be nothing to do, as a trial that is near enough is within budget already.
        """
        return None

    def _candidate(self, runner: Runner, trial: Trial) -> Candidate:
        """A trial's model, loaded and measured again."""
        if self._rounds is not None:
            self._rounds.rewind()
        self._load(runner, trial)
        measured = self._training.validated(max(self._epochs - 1, 0))
        candidate = Candidate.of(trial, measured, self._budget)
        if candidate.holds and self._confirmation_budget is not None:
            candidate = candidate.confirmed(self._confirm(runner, trial), self._confirmation_budget)
        return candidate

    def _confirm(self, runner: Runner, trial: Trial) -> Confirmed:
        """Whether the model that is loaded, a trial's, is within budget on data not yet seen."""
        budget = self._confirmation_budget
        assert budget is not None
        measured = runner.confirm(max(self._epochs - 1, 0))
        confirmed = Confirmed(
            trial=trial.number,
            metric=measured.value,
            standard_error=measured.standard_error,
            within_budget=budget.admits(measured.value, measured.standard_error),
        )
        self._history = self._history.with_confirmed(confirmed)
        self._emit(ConfirmationFinished(confirmed, budget))
        return confirmed

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
        ranked = self._history.ranked(self._budget)
        refused = self._history.refused
        best = next((trial for trial in ranked if trial.number not in refused), None)
        best = best or next(iter(ranked), None)
        if best is None or best.metric is None:
            return self._summary(stop, None)
        remembered = Measurement(best.metric, best.standard_error)
        return self._summary(stop, Candidate.of(best, remembered, self._budget))

    def _summary(self, stop: StopReason, handed_over: Candidate | None) -> SearchResult:
        confirmation = None
        if self._confirmation_budget is not None:
            confirmation = ConfirmationResult(self._confirmation_budget, self._history.confirmed)
        return summary(handed_over, stop, self._budget, self._history, self._epochs, confirmation)
