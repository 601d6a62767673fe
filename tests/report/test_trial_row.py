"""What a running trial's row shows: the best judged epoch, else the latest."""

from __future__ import annotations

from accaware.report.progress.trial_row import TrialRow
from accaware.search import AccuracyBudget, Epoch, TrialPhase
from accaware.search.events import TrialStarted

STARTED = TrialStarted(0, TrialPhase.INITIAL, 0.5, 0.1, 9, 1.0, None)


def _after(*epochs: tuple[float, bool, float | None]) -> tuple[int, float, float | None]:
    """(rate, fully compressed, metric) of each epoch, to what is shown."""
    row = TrialRow.opened(STARTED)
    for number, (rate, full, metric) in enumerate(epochs, 1):
        epoch = Epoch(number=number, compression_rate=rate, fully_compressed=full, metric=metric)
        row = row.with_epoch(epoch, AccuracyBudget(1.0, 0.1))
    return row.epochs, row.rate, row.metric


def test_the_latest_epoch_while_none_is_fully_compressed() -> None:
    assert _after() == (0, 0.1, None)
    assert _after((0.2, False, 0.99), (0.3, False, 0.98)) == (2, 0.3, 0.98)
    assert _after((0.2, False, 0.99), (0.3, False, None)) == (2, 0.2, 0.99)
    assert _after((0.2, False, None), (0.3, False, None)) == (2, 0.3, None)


def test_the_best_epoch_at_full_compression_from_there_on() -> None:
    better_before = (0.3, False, 0.99)
    assert _after(better_before, (0.5, True, 0.9)) == (2, 0.5, 0.9)
    assert _after(better_before, (0.5, True, 0.9), (0.5, True, 0.8)) == (3, 0.5, 0.9)
    assert _after(better_before, (0.5, True, 0.9), (0.51, True, 0.95)) == (3, 0.51, 0.95)
    assert _after((0.5, True, 0.9), (0.5, True, None)) == (2, 0.5, 0.9)


def test_a_validation_before_training_is_no_epoch() -> None:
    epoch = Epoch(number=0, compression_rate=0.5, fully_compressed=True, metric=0.9)
    row = TrialRow.opened(STARTED).with_epoch(epoch, AccuracyBudget(1.0, 0.1))
    assert (row.epochs, row.metric) == (0, 0.9)
