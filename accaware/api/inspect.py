"""What a run would compress, and what it would cost, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accaware.api.listener import PythonListener, RunListener
from accaware.api.loading import ConfigSource, LoadedConfig
from accaware.api.overrides import Changes, Overrides
from accaware.errors import UsageError
from accaware.report.inspection import InspectionReport
from accaware.results.inspection import Inspection


def inspect(
    config: ConfigSource,
    *,
    samples: int | None = None,
    plugin: Any = None,
    data: str | Path | None = None,
    download: bool = False,
    device: str | None = None,
    seed: int | None = None,
    overrides: Changes = (),
    progress: bool | None = None,
    listener: RunListener | None = None,
) -> Inspection:
    """Find out what a run with ``config`` would compress, and what it would cost.

    Nothing is written, and the plugin's model, its state and all randomness are as they were.

    Args:
        config: the path of a file, a config, or its data as a dict.
        samples: of the validation data, to measure how much the metric depends on each part of
            the model; None for none.
        progress: draw a bar on standard error; None does where that is a terminal or a notebook.
        listener: told all that the command says, in place of what is drawn and of warnings.

    The other arguments are those of ``run``.

    Raises:
        UsageError: in the arguments, the config, the plugin or the model.
        PluginFailure: the plugin raised.
        RunError: the device is out of memory.
    """
    listener = listener or PythonListener(progress)
    if samples is not None and samples < 1:
        raise UsageError(f"{listener.option('samples', samples)} is below the minimum 1")
    changes = Overrides(
        plugin=plugin,
        data=data,
        download=download,
        device=device,
        seed=seed,
        changes=overrides,
    )
    loaded = LoadedConfig(config, changes, listener)
    users = loaded.plugin()
    # Imports torch, which takes seconds: only now that everything else is in order.
    from accaware.pytorch.inspection import inspect as inspect_model

    with listener.activity() as tell:
        found = inspect_model(loaded.config, users, samples=samples, report=tell)
    metric = loaded.config.metric
    report = InspectionReport(found, metric.name, metric.higher_is_better)
    listener.found(report, found.to_json())
    return found
