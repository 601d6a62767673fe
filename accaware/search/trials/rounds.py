"""Rounds of a search: trials that are proposed together, from their orders to their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    TrialStarted,
    Waited,
    Warned,
)
from accaware.search.history import History, Step
from accaware.search.strategies.strategy import Propose
from accaware.search.trial import Checkpoint, Trial
from accaware.search.trials.executor import TrialExecutor
from accaware.search.trials.order import Began, EpochBegan, EpochDone, Noted, Report, TrialOrder
from accaware.search.trials.round import Round, Settled
from accaware.search.trials.training import TrialRules


@dataclass(frozen=True)
class RoundOutcome:
    """What became of a round's trials, in the order of their numbers."""

    settled: tuple[Settled, ...]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All of them, those that were left unfinished too."""
        return tuple(one.trial for one in self.settled)

    @property
    def stopped_by_user(self) -> bool:
        """Whether the user's early stopping ended one of them."""
        return any(one.stopped_by_user for one in self.settled)

    def added_to(self, history: History) -> History:
        """The history with these trials, and with the rates that are known by others."""
        for trial in self.trials:
            history = history.with_trial(trial)
        for one in self.settled:
            answer = _answer(one, history)
            if answer is not None:
                history = history.with_known(answer)
        return history


class Rounds:
    """Has an executor run one round after another, and tells of it.

    Epochs of trials that run side by side have the same numbers: they count along the longest
    trial of each round.
    """

    def __init__(self, executor: TrialExecutor, emit: Callable[[Event], None]) -> None:
        self._executor = executor
        self._emit = emit
        self._epochs = 0
        self._warned: set[str] = set()

    def run(
        self,
        proposals: Sequence[Propose],
        history: History,
        *,
        untouched: Checkpoint,
        rules: TrialRules,
        epochs_left: int,
    ) -> RoundOutcome:
        """Run trials until it is settled what becomes of each.

        Args:
            proposals: no more than there are epochs left, of ascending rates.
            untouched: the dense model's weights.
            epochs_left: that all of them may be trained for together.
        """
        orders = {
            order.number: order
            for order in self._orders(proposals, history, untouched, rules, epochs_left)
        }
        together, settled = Round(tuple(orders.values()), rules.budget), []
        self._executor.submit(tuple(orders.values()))
        while not together.is_over:
            report = self._executor.next()
            if report is None:
                self._emit(Waited())
                continue
            self._tell(report, orders, new=together.take(report))
            for one in together.settle():
                settled.append(one)
                if one.trial.cancelled:
                    self._executor.cancel(one.order.number)
        self._epochs += together.epochs
        return RoundOutcome(tuple(sorted(settled, key=lambda one: one.order.number)))

    def forget(self, outcome: RoundOutcome) -> None:
        """What came of a round is kept: no other process will have to go on with it."""
        self._executor.forget([trial.number for trial in outcome.trials])

    def rewind(self) -> None:
        """Leave nothing of the trials in this process but what is loaded next."""
        self._executor.rewind()

    def _orders(
        self,
        proposals: Sequence[Propose],
        history: History,
        untouched: Checkpoint,
        rules: TrialRules,
        epochs_left: int,
    ) -> list[TrialOrder]:
        share = epochs_left // len(proposals)
        judged = {trial.compression_rate for trial in history.trials if trial.judged}
        orders = []
        for number, proposal in enumerate(proposals, start=len(history.trials)):
            start = None if proposal.start is None else history.trials[proposal.start]
            checkpoint = untouched if start is None else start.checkpoint
            assert checkpoint is not None
            orders.append(
                TrialOrder(
                    number=number,
                    phase=proposal.phase,
                    rate=proposal.rate,
                    epochs=min(proposal.epochs, share),
                    lr_factor=proposal.lr_factor,
                    start=proposal.start,
                    checkpoint=checkpoint,
                    first_epoch=self._epochs + 1,
                    rules=rules,
                    ends_within_budget=proposal.ends_within_budget,
                    gives_up=proposal.gives_up,
                    known=frozenset() if proposal.again else frozenset({0.0, *judged}),
                )
            )
        return orders

    def _tell(self, report: Report, orders: dict[int, TrialOrder], *, new: bool) -> None:
        match report:
            case Noted(message) if message not in self._warned:
                self._warned.add(message)
                self._emit(Warned(message))
            case EpochBegan(trial, number):
                self._emit(EpochStarted(trial, number))
            case Began() if new or report.worker is not None:
                self._emit(_started(orders[report.trial], report))
            case EpochDone(trial, epoch) if new:
                self._emit(EpochFinished(trial, epoch))


def _started(order: TrialOrder, report: Began) -> TrialStarted:
    return TrialStarted(
        number=order.number,
        phase=order.phase,
        target_rate=order.rate,
        compression_rate=report.compression_rate,
        epochs=order.epochs,
        lr_factor=order.lr_factor,
        start=order.start,
        worker=report.worker,
    )


def _answer(settled: Settled, history: History) -> Step | None:
    """The step of a trial whose rate another one answers."""
    rate = settled.order.rate
    if settled.twin is not None:
        return Step(rate, settled.twin) if history.trials[settled.twin].judged else None
    if settled.known:
        return history.achieved(rate, settled.trial.compression_rate)
    return None
