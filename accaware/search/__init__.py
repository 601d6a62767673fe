"""The search for the highest compression rate within an accuracy budget. Standard library only.

Names load lazily, so that a config is checked without loading the loops.
"""

from typing import TYPE_CHECKING

from accaware.lazy import lazy_names

if TYPE_CHECKING:
    from accaware.search.budget import AccuracyBudget
    from accaware.search.history import History
    from accaware.search.loop import (
        AdaptiveCompressionTrainingLoop,
        EarlyExitCompressionTrainingLoop,
        create_accuracy_aware_training_loop,
    )
    from accaware.search.metric import Metric
    from accaware.search.params import AdaptiveParams, Confirmation, EarlyExitParams
    from accaware.search.result import (
        Best,
        ConfirmationResult,
        SearchResult,
        SearchStatus,
        StopReason,
        TrainingLoopStatistics,
    )
    from accaware.search.trial import Confirmed, Epoch, Trial, TrialPhase, TrialState

__all__ = [
    "AccuracyBudget",
    "AdaptiveCompressionTrainingLoop",
    "AdaptiveParams",
    "Best",
    "Confirmation",
    "ConfirmationResult",
    "Confirmed",
    "EarlyExitCompressionTrainingLoop",
    "EarlyExitParams",
    "Epoch",
    "History",
    "Metric",
    "SearchResult",
    "SearchStatus",
    "StopReason",
    "TrainingLoopStatistics",
    "Trial",
    "TrialPhase",
    "TrialState",
    "create_accuracy_aware_training_loop",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "accaware.search.budget": ["AccuracyBudget"],
        "accaware.search.loop": [
            "AdaptiveCompressionTrainingLoop",
            "EarlyExitCompressionTrainingLoop",
            "create_accuracy_aware_training_loop",
        ],
        "accaware.search.history": ["History"],
        "accaware.search.metric": ["Metric"],
        "accaware.search.params": ["AdaptiveParams", "Confirmation", "EarlyExitParams"],
        "accaware.search.result": [
            "Best",
            "ConfirmationResult",
            "SearchResult",
            "SearchStatus",
            "StopReason",
            "TrainingLoopStatistics",
        ],
        "accaware.search.trial": ["Confirmed", "Epoch", "Trial", "TrialPhase", "TrialState"],
    },
)
