"""Find the most compressed model that stays within the accuracy you can afford to lose.

The names below load lazily; importing accaware never imports torch.
"""

from typing import TYPE_CHECKING

from accaware.lazy import lazy_names

if TYPE_CHECKING:
    from accaware.config.load import AccAwareConfig
    from accaware.search.loop import (
        AdaptiveCompressionTrainingLoop,
        EarlyExitCompressionTrainingLoop,
        create_accuracy_aware_training_loop,
    )
    from accaware.search.result import SearchResult

__version__ = "0.1.0"

__all__ = [
    "AccAwareConfig",
    "AdaptiveCompressionTrainingLoop",
    "EarlyExitCompressionTrainingLoop",
    "SearchResult",
    "__version__",
    "create_accuracy_aware_training_loop",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "accaware.config.load": ["AccAwareConfig"],
        "accaware.search.loop": [
            "AdaptiveCompressionTrainingLoop",
            "EarlyExitCompressionTrainingLoop",
            "create_accuracy_aware_training_loop",
        ],
        "accaware.search.result": ["SearchResult"],
    },
)
