"""The search for the highest compression rate within an accuracy budget. Standard library only."""

from accaware.search.budget import AccuracyBudget
from accaware.search.loop import (
    AdaptiveCompressionTrainingLoop,
    EarlyExitCompressionTrainingLoop,
    create_accuracy_aware_training_loop,
)
from accaware.search.params import AdaptiveParams, EarlyExitParams
from accaware.search.result import Best, SearchResult, SearchStatus, StopReason
from accaware.search.statistics import TrainingLoopStatistics
from accaware.search.trial import Epoch, History, Trial, TrialPhase, TrialState

__all__ = [
    "AccuracyBudget",
    "AdaptiveCompressionTrainingLoop",
    "AdaptiveParams",
    "Best",
    "EarlyExitCompressionTrainingLoop",
    "EarlyExitParams",
    "Epoch",
    "History",
    "SearchResult",
    "SearchStatus",
    "StopReason",
    "TrainingLoopStatistics",
    "Trial",
    "TrialPhase",
    "TrialState",
    "create_accuracy_aware_training_loop",
]
