"""Whether a run can be gone on with, or has ended already."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import accaware
from accaware.api.lifecycle.final_report import write_final_report
from accaware.api.listener import RunListener
from accaware.api.run_result import RunResult
from accaware.config.load import AccAwareConfig
from accaware.errors import UsageError
from accaware.plugins.provenance import Provenance
from accaware.rundir.directory import RunDirectory
from accaware.rundir.manifest import Manifest, ManifestDifference, config_differences
from accaware.rundir.result_file import read_result


class Made:
    """What a run is made with, as of now; asked once the plugin is loaded."""

    def __init__(self, config: AccAwareConfig, plugin: str, provenance: Provenance) -> None:
        self.config: dict[str, Any] = config.to_dict()
        self._seed = config.seed
        self._plugin = plugin
        self._provenance = provenance

    def manifest(self, device: str, hardware: str | None, processes: int) -> Manifest:
        """The same as it is written down, once it is known where the run computes."""
        return Manifest(
            versions={
                "accaware": accaware.__version__,
                "python": platform.python_version(),
                "torch": _torch_version(),
            },
            device=device,
            hardware=hardware,
            seed=self._seed,
            config=_what_counts(self.config),
            plugin=self._plugin,
            plugin_digest=self._provenance.digest,
            plugin_commit=self._provenance.commit,
            processes=processes,
        )


def is_finished(directory: RunDirectory) -> bool:
    """Whether the search of the run there has ended."""
    outcome = read_result(directory.result)
    return outcome is not None and outcome.finished


def finished(
    directory: RunDirectory, config: AccAwareConfig, listener: RunListener
) -> RunResult | None:
    """The result of a run whose search has ended, told again; None where it hasn't.

    Raises:
        UsageError: a run that has ended can't go on under another config.
    """
    outcome = read_result(directory.result)
    if outcome is None or not outcome.finished:
        return None
    manifest = Manifest.read(directory.manifest)
    changed = Manifest.differences(manifest, _with_config(manifest, _what_counts(config.to_dict())))
    if changed:
        raise UsageError(
            f"{directory.path}: the run has finished, and what has changed since would need a "
            f"new one:\n{_listed(changed)}"
        )
    # A kill may have come in between.
    directory.drop_checkpoints()
    if config.report and not directory.report.exists():
        write_final_report(directory, listener)
    result = RunResult(
        directory=directory.path,
        search=outcome.result,
        model=outcome.model,
        metric_name=outcome.metric_name,
        seconds=outcome.seconds,
    )
    listener.finished(result.summary(), outcome.text)
    return result


def check_resumable(
    directory: RunDirectory,
    made: Made,
    listener: RunListener,
    *,
    force: bool,
    device: str | None = None,
    hardware: str | None = None,
    processes: int | None = None,
) -> None:
    """Say what isn't as it was when the run began.

    Args:
        device: None while it isn't known yet, and then taken for the same, as are its hardware
            and the number of processes.

    Raises:
        UsageError: something has changed that could change the result, and ``force`` isn't set.
    """
    if not (directory.manifest.exists() and directory.has_snapshot):
        return  # no epoch was finished yet: it starts over
    before = Manifest.read(directory.manifest)
    now = made.manifest(
        device or before.device, hardware or before.hardware, processes or before.processes
    )
    differences = before.differences(now)
    unsafe = [difference for difference in differences if not difference.safe]
    if unsafe and not force:
        raise UsageError(
            f"{directory.path}: not what the run began with:\n{_listed(unsafe)}\n"
            f"undo that, or go on all the same with {listener.to_force()}"
        )
    if device is not None:
        listener.differs([str(difference) for difference in differences])


def check_same_config(directory: RunDirectory, config: AccAwareConfig) -> None:
    """See that the run in a directory is one of this config.

    Raises:
        UsageError: it is another one's, in more than limits that may be raised.
    """
    if not directory.config.is_file():
        return  # killed before it began
    try:
        began = json.loads(directory.config.read_text("utf-8"))
    except ValueError as error:
        raise UsageError(f"{directory.config}: can't be read: {error}") from error
    differences = config_differences(_what_counts(began), _what_counts(config.to_dict()))
    unsafe = [difference for difference in differences if not difference.safe]
    if unsafe:
        raise UsageError(
            f"{directory.path}: holds a run of another config:\n{_listed(unsafe)}\n"
            "undo that, or name another directory"
        )


def _what_counts(config: dict[str, Any]) -> dict[str, Any]:
    """Data are the same, whether they were fetched or found, and a run whether it is shown."""
    aside = "download", "report", "trackers"
    return {key: value for key, value in config.items() if key not in aside}


def _with_config(manifest: Manifest, config: dict[str, Any]) -> Manifest:
    return Manifest(**{**vars(manifest), "config": config})


def _listed(differences: Iterable[ManifestDifference]) -> str:
    return "\n".join(f"  {difference}" for difference in differences)


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "none"
