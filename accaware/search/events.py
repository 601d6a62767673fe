"""What the search says while it works. Observers see these; nothing they do steers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accaware.search.budget import AccuracyBudget
from accaware.search.result import SearchResult
from accaware.search.trial import Confirmed, Epoch, Trial, TrialPhase


@dataclass(frozen=True)
class SearchStarted:
    """``maximal_rate`` is the search's upper bound: the config's, or less if the model can't.

    ``most_epochs`` is what it may cost, however its trials end; ``confirmation`` is the budget on
    the data that confirm the final model, if there are such.
    """

    budget: AccuracyBudget
    maximal_rate: float
    most_epochs: int
    confirmation: AccuracyBudget | None = None


@dataclass(frozen=True)
class TrialStarted:
    """``epochs`` is how many are planned at the most; ``start`` is the trial it goes on from.

    ``worker`` is who runs it; None for this process. A trial that is begun anew elsewhere is told
    again.
    """

    number: int
    phase: TrialPhase
    target_rate: float
    compression_rate: float
    epochs: int
    lr_factor: float
    start: int | None
    worker: str | None = None


@dataclass(frozen=True)
class EpochStarted:
    """An epoch of a trial begins; ``number`` counts from 1 over the whole run."""

    trial: int
    number: int


@dataclass(frozen=True)
class LearningRateKnown:
    """What an epoch's training begins with, from the runner: the highest of all groups'."""

    value: float


@dataclass(frozen=True)
class FiltersKnown:
    """The filters of each layer while an epoch is trained, from the runner, where they changed.

    Layers are in the order of the network.
    """

    kept: Mapping[str, int]


@dataclass(frozen=True)
class EpochFinished:
    """An epoch of a trial was trained, and validated where it is judged."""

    trial: int
    epoch: Epoch


@dataclass(frozen=True)
class TrialFinished:
    """A trial has its verdict."""

    trial: Trial


@dataclass(frozen=True)
class RoundFinished:
    """All of the trials that ran at a time have their verdicts; ``epochs`` counts all so far."""

    trials: tuple[int, ...]
    epochs: int


@dataclass(frozen=True)
class Waited:
    """Nothing has happened for a moment: trials are under way elsewhere."""


@dataclass(frozen=True)
class RateKnown:
    """A rate that was asked for needs no training: ``trial`` already answers it (None: rate 0)."""

    target_rate: float
    compression_rate: float
    trial: int | None


@dataclass(frozen=True)
class BatchFinished:
    """Progress inside an epoch, from the runner: ``done`` of ``total`` batches.

    ``activity`` is "train", "validate" or "adapt" (batch norm statistics); ``total`` is None for
    data of unknown length.
    """

    activity: str
    done: int
    total: int | None


@dataclass(frozen=True)
class RankingStarted:
    """Learned ranking begins, before the search; ``generations`` candidates will be judged."""

    generations: int


@dataclass(frozen=True)
class GenerationFinished:
    """A candidate of learned ranking was judged; ``best`` is the best metric so far, if any."""

    number: int
    generations: int
    metric: float
    best: float | None


@dataclass(frozen=True)
class Warned:
    """Something about the training that its user should know, said once."""

    message: str


@dataclass(frozen=True)
class ConfirmationFinished:
    """A model that is within ``budget`` on the validation data was judged on the part kept back."""

    confirmed: Confirmed
    budget: AccuracyBudget


@dataclass(frozen=True)
class SearchFinished:
    """The search has ended, and its result stands."""

    result: SearchResult


Event = (
    SearchStarted
    | TrialStarted
    | EpochStarted
    | LearningRateKnown
    | FiltersKnown
    | EpochFinished
    | TrialFinished
    | RoundFinished
    | Waited
    | RateKnown
    | BatchFinished
    | RankingStarted
    | GenerationFinished
    | Warned
    | ConfirmationFinished
    | SearchFinished
)
