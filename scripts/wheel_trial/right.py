"""A user's script, which a strict mypy has nothing to say against."""

import accaware
from accaware.config import AccAwareConfig, AdaptiveParams, FilterPruningConfig


class Watching:
    def notify(self, event: object) -> None:
        print(event)


def main() -> float:
    config = AccAwareConfig(
        plugin="mine.py",
        accuracy_aware_training=AdaptiveParams(
            maximal_relative_accuracy_degradation=1.0, strategy="ramp", patience_epochs=5
        ),
        compression=(FilterPruningConfig(),),
    )
    result = accaware.run(config, output_dir="runs/x", observers=[Watching()])
    return 0.0 if result.best is None else result.best.compression_rate
