"""Several trials side by side: what becomes of each, in whatever order their reports come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from accaware.search.budget import AccuracyBudget
from accaware.search.trial import Epoch, Trial
from accaware.search.trials.order import Began, Ended, EpochDone, Report, TrialEnd, TrialOrder


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of a trial.

    Attributes:
        stopped_by_user: the user's early stopping ended it, and so the search.
        known: its rate was achieved before and needs no training; ``twin`` is the trial of the
            same round that has the same rate, where there is one.
    """

    order: TrialOrder
    trial: Trial
    stopped_by_user: bool = False
    known: bool = False
    twin: int | None = None


@dataclass
class _Course:
    """A trial as far as it was reported."""

    order: TrialOrder
    rate: float | None = None
    epochs: list[Epoch] = field(default_factory=list)
    end: TrialEnd | None = None
    settled: bool = False

    def take(self, report: Report) -> bool:
        """Whether a report tells anything new."""
        match report:
            case Began():
                new = self.rate is None
                self.rate = report.compression_rate
                return new
            case EpochDone():
                # After a restart what is known already is told again.
                if report.epoch.number < self.order.first_epoch + len(self.epochs):
                    return False
                self.epochs.append(report.epoch)
                self.end = report.end
                return True
            case Ended():
                self.end = report.end
                return True
        return False

    def has_come_to(self, clock: int) -> bool:
        """Whether it is known how it was after so many epochs."""
        begun = self.rate is not None and len(self.epochs) >= clock
        return begun or self.end is not None


class Round:
    """Trials that begin together and are judged as if they trained each epoch at the same time.

    They needn't: one may be far ahead of another, or not have begun while another has ended. After
    so many epochs of each, those that end there are judged; then, of those that would go on, these
    are left: at a lower rate than one that has passed, or at a higher one than one that failed. So
    what becomes of each follows from the trials alone. What a trial trained beyond the epoch after
    which it was left counts for nothing.

    Args:
        orders: of ascending rates.
    """

    def __init__(self, orders: Sequence[TrialOrder], budget: AccuracyBudget) -> None:
        self._courses = {order.number: _Course(order) for order in orders}
        self._budget = budget
        self._clock = 0

    @property
    def is_over(self) -> bool:
        """Whether it is settled what became of each trial."""
        return not self._going_on()

    @property
    def epochs(self) -> int:
        """Of the longest trial so far, as it counts."""
        return self._clock

    def take(self, report: Report) -> bool:
        """Take a report in. Returns whether it tells anything new of a trial that isn't settled."""
        number = getattr(report, "trial", None)
        course = self._courses.get(number) if number is not None else None
        return course is not None and not course.settled and course.take(report)

    def settle(self) -> Iterator[Settled]:
        """What has become of trials by what was reported, in an order that follows from them."""
        while going_on := self._going_on():
            if not all(course.has_come_to(self._clock) for course in going_on):
                return
            yield from self._settle_now(going_on)
            self._clock += not self.is_over

    def _going_on(self) -> list[_Course]:
        return [course for course in self._courses.values() if not course.settled]

    def _settle_now(self, going_on: Sequence[_Course]) -> Iterator[Settled]:
        if self._clock == 0:
            yield from self._known(going_on)
        ended = [
            course
            for course in going_on
            if not course.settled and course.end is not None and len(course.epochs) <= self._clock
        ]
        verdicts = [self._ended(course, course.end) for course in ended if course.end is not None]
        yield from verdicts
        passed = [one.order.rate for one in verdicts if one.trial.within_budget]
        failed = [
            one.order.rate
            for one in verdicts
            if one.trial.epochs and one.trial.judged and not one.trial.within_budget
        ]
        for course in self._going_on():
            rate = course.order.rate
            if any(rate < other for other in passed):
                yield self._left(course, "a higher rate passed")
            elif any(rate > other for other in failed):
                yield self._left(course, "a lower rate failed")

    def _known(self, going_on: Sequence[_Course]) -> Iterator[Settled]:
        """Trials whose rate, now that it is known, needs no training, or not twice."""
        first: dict[float, int] = {}
        for course in going_on:
            if course.rate is None:
                continue
            if course.rate in course.order.known:
                yield self._left(course, "the rate is known", known=True)
                continue
            twin = first.setdefault(course.rate, course.order.number)
            if twin != course.order.number:
                yield self._left(course, f"trial {twin} has the same rate", twin=twin)

    def _ended(self, course: _Course, end: TrialEnd) -> Settled:
        course.settled = True
        record = course.order.record(course.rate or 0.0, course.epochs)
        record.given_up, record.stopped_by_user = end.given_up, end.stopped_by_user
        record.failure = record.failure or end.failure
        return Settled(
            order=course.order,
            trial=record.closed(self._budget),
            stopped_by_user=end.stopped_by_user,
        )

    def _left(
        self, course: _Course, reason: str, *, known: bool = False, twin: int | None = None
    ) -> Settled:
        course.settled = True
        record = course.order.record(course.rate or 0.0, course.epochs[: self._clock])
        trial = record.cancelled(self._budget, reason)
        return Settled(order=course.order, trial=trial, known=known, twin=twin)
