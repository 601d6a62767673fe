"""Find the most compressed model that stays within the accuracy you can afford to lose.

    result = accaware.run("config.json", output_dir="runs/first")
    result.best.compression_rate, result.model_path

The names below load lazily; importing accaware never imports torch.
"""

from typing import TYPE_CHECKING

from accaware.lazy import lazy_names

if TYPE_CHECKING:
    from accaware import config, errors, events
    from accaware.api.benchmark import benchmark
    from accaware.api.compare import compare
    from accaware.api.export import export
    from accaware.api.inspect import inspect
    from accaware.api.report import write_report
    from accaware.api.run import resume, run
    from accaware.api.run_result import RunResult
    from accaware.api.status import status
    from accaware.config.load import AccAwareConfig
    from accaware.rundir.run_status import RunStatus
    from accaware.search.loop import (
        AdaptiveCompressionTrainingLoop,
        EarlyExitCompressionTrainingLoop,
        create_accuracy_aware_training_loop,
    )
    from accaware.search.metric import Metric
    from accaware.search.ports import Observer
    from accaware.search.result import SearchResult

__version__ = "0.1.0"

__all__ = [
    "AccAwareConfig",
    "AdaptiveCompressionTrainingLoop",
    "EarlyExitCompressionTrainingLoop",
    "Metric",
    "Observer",
    "RunResult",
    "RunStatus",
    "SearchResult",
    "__version__",
    "benchmark",
    "compare",
    "config",
    "create_accuracy_aware_training_loop",
    "errors",
    "events",
    "export",
    "inspect",
    "resume",
    "run",
    "status",
    "write_report",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "accaware.api.benchmark": ["benchmark"],
        "accaware.api.compare": ["compare"],
        "accaware.api.export": ["export"],
        "accaware.api.inspect": ["inspect"],
        "accaware.api.report": ["write_report"],
        "accaware.api.run": ["resume", "run"],
        "accaware.api.run_result": ["RunResult"],
        "accaware.api.status": ["status"],
        "accaware.config.load": ["AccAwareConfig"],
        "accaware.rundir.run_status": ["RunStatus"],
        "accaware.search.loop": [
            "AdaptiveCompressionTrainingLoop",
            "EarlyExitCompressionTrainingLoop",
            "create_accuracy_aware_training_loop",
        ],
        "accaware.search.metric": ["Metric"],
        "accaware.search.ports": ["Observer"],
        "accaware.search.result": ["SearchResult"],
    },
    modules=["config", "errors", "events"],
)
