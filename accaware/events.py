"""What a run says while it works: observers are told of these, and nothing they do steers it."""

from accaware.search.events import (
    BatchFinished,
    ConfirmationFinished,
    EpochFinished,
    EpochStarted,
    Event,
    GenerationFinished,
    LearningRateKnown,
    RankingStarted,
    RateKnown,
    RoundFinished,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    TrialStarted,
    Waited,
    Warned,
)

__all__ = [
    "BatchFinished",
    "ConfirmationFinished",
    "EpochFinished",
    "EpochStarted",
    "Event",
    "GenerationFinished",
    "LearningRateKnown",
    "RankingStarted",
    "RateKnown",
    "RoundFinished",
    "SearchFinished",
    "SearchStarted",
    "TrialFinished",
    "TrialStarted",
    "Waited",
    "Warned",
]
