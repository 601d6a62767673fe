"""Find the most compressed model that stays within the accuracy you can afford to lose.

The names below load lazily; importing accaware never imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accaware.config.model import AccAwareConfig
    from accaware.search.loop import (
        AdaptiveCompressionTrainingLoop,
        EarlyExitCompressionTrainingLoop,
        create_accuracy_aware_training_loop,
    )
    from accaware.search.result import SearchResult

__version__ = "0.1.0"

_HOMES = {
    "AccAwareConfig": "accaware.config.model",
    "AdaptiveCompressionTrainingLoop": "accaware.search.loop",
    "EarlyExitCompressionTrainingLoop": "accaware.search.loop",
    "SearchResult": "accaware.search.result",
    "create_accuracy_aware_training_loop": "accaware.search.loop",
}

__all__ = [
    "AccAwareConfig",
    "AdaptiveCompressionTrainingLoop",
    "EarlyExitCompressionTrainingLoop",
    "SearchResult",
    "__version__",
    "create_accuracy_aware_training_loop",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
