"""Exports of a run's model, each held against the validation data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import accaware
from accaware.errors import RunError
from accaware.pytorch.data.batches import inputs_of
from accaware.pytorch.export.comparison.comparison import Compared
from accaware.pytorch.export.comparison.metric_check import check_metric
from accaware.pytorch.export.export import export_model, files_of, format_named
from accaware.pytorch.export.network.stand_in import in_full_precision
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.wrappers import eagerly
from accaware.pytorch.training.task import PluginTask
from accaware.results.exports import ExportInfo
from accaware.rundir.manifest import config_digest
from accaware.search.result import Best


@dataclass(frozen=True)
class CheckedExport:
    """Exports one model, as often as asked for.

    Args:
        model: compressed.
        inputs: an example of its inputs.
        metadata: for the files.
    """

    task: PluginTask
    model: nn.Module
    inputs: ExampleInputs
    metadata: dict[str, str]

    def write(
        self,
        path: Path,
        *,
        format: str,
        opset: int | None = None,
        dynamic_batch: bool | None = None,
    ) -> ExportInfo:
        """Write it, run the file on the validation data, and compare it with the model.

        Raises:
            UsageError, RunError, OSError: as ``export_model`` does; nothing is left behind.
            PluginFailure: the plugin's validate raised.
        """
        with eagerly():
            expected = self.task.validate(in_full_precision(self.model))
        checked: list[tuple[Compared, float | None]] = []

        def check(compared: Compared) -> None:
            metric: float | None = self.task.validate(compared.stand_in)
            assert metric is not None
            difference = compared.difference
            if difference.samples:
                check_metric(metric, expected, difference.samples, difference.other_top1)
            else:
                # It uses parts of the model: these aren't the file.
                metric = None
                self._run_on_batches(compared)
            checked.append((compared, metric))

        written = export_model(
            self.model,
            self.inputs,
            path,
            format=format,
            opset=opset,
            dynamic_batch=dynamic_batch,
            metadata=self.metadata,
            check=check,
        )
        ((compared, metric),) = checked
        difference = compared.difference
        files = files_of(path, format_named(format))
        return ExportInfo(
            format=format,
            file=str(path),
            file_size=sum(file.stat().st_size for file in files),
            opset=written.opset,
            dynamic_batch=written.dynamic_batch,
            fixed_batch=written.fixed_batch,
            samples=difference.samples,
            largest_difference=difference.largest,
            largest_output=difference.largest_output,
            same_top1=None
            if difference.same_top1 is None
            else difference.same_top1 / difference.samples,
            metric=metric,
            model_metric=expected,
        )

    def _run_on_batches(self, compared: Compared) -> None:
        """Let the file and the model compute on the validation data, whatever is made of it.

        Raises:
            RunError: the model doesn't take the data's batches.
        """
        for batch in self.task.validation_loader:
            try:
                inputs = inputs_of(batch, self.task.model)
                compared(*inputs.args, **inputs.kwargs)
            except RunError:
                raise
            except Exception as error:  # the user's forward, given what it may not take
                raise RunError(
                    "the plugin's validate never calls the model itself, and the model can't be "
                    "called with the batches of the validation data, so that the file can't be "
                    f"compared on them ({error!r}); let validate call the model"
                ) from error


def metadata_of(config: Mapping[str, Any], best: Best) -> dict[str, str]:
    """What a file tells of where it comes from.

    Args:
        config: resolved.
    """
    return {
        "accaware.version": accaware.__version__,
        "accaware.compression_rate": repr(best.compression_rate),
        "accaware.metric": config["metric"]["name"],
        "accaware.metric_value": repr(best.metric),
        "accaware.config_digest": config_digest(config),
    }


def default_path(folder: Path, format: str) -> Path:
    """Where an export goes that nobody named a file for."""
    return folder / f"model{format_named(format).suffix}"
