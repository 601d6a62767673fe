"""Whether a run can be gone on with, or has ended already."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import accaware
from accaware.cli.conduct import exit_code
from accaware.cli.exit_codes import ExitCode
from accaware.cli.output import Output
from accaware.config.load import AccAwareConfig
from accaware.errors import UsageError
from accaware.plugins.provenance import git_commit, source_digest, source_file
from accaware.report.summary import Summary
from accaware.rundir.directory import RunDirectory
from accaware.rundir.manifest import Manifest, ManifestDifference
from accaware.rundir.result_file import read_result


class Made:
    """What a run is made with, as of now; asked once the plugin is loaded."""

    def __init__(self, config: AccAwareConfig, plugin: str) -> None:
        file = source_file(plugin, config.directory)
        self.config: dict[str, Any] = config.to_dict()
        self._seed = config.seed
        self._plugin = plugin
        self._digest, self._commit = source_digest(file), git_commit(file)

    def manifest(self, device: str, hardware: str | None) -> Manifest:
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
            plugin_digest=self._digest,
            plugin_commit=self._commit,
        )


def finished(directory: RunDirectory, config: AccAwareConfig, output: Output) -> ExitCode | None:
    """Print the result of a run whose search has ended; None where it hasn't.

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
    directory.drop_checkpoints()  # a kill may have come in between
    summary = Summary(
        result=outcome.result,
        metric_name=outcome.metric_name,
        model=outcome.model,
        path=directory.model if outcome.model else None,
        seconds=outcome.seconds,
    )
    output.finished(summary, outcome.text)
    return exit_code(outcome.result)


def check_resumable(
    directory: RunDirectory,
    made: Made,
    output: Output,
    *,
    force: bool,
    device: str | None = None,
    hardware: str | None = None,
) -> None:
    """Say what isn't as it was when the run began.

    Args:
        device: None while it isn't known yet, and then taken for the same, as is its hardware.

    Raises:
        UsageError: something has changed that could change the result, and ``force`` isn't set.
    """
    if not (directory.manifest.exists() and directory.has_snapshot):
        return  # no epoch was finished yet: it starts over
    before = Manifest.read(directory.manifest)
    now = made.manifest(device or before.device, hardware or before.hardware)
    differences = before.differences(now)
    unsafe = [difference for difference in differences if not difference.safe]
    if unsafe and not force:
        raise UsageError(
            f"{directory.path}: not what the run began with:\n{_listed(unsafe)}\n"
            "undo that, or go on all the same with --force"
        )
    if device is not None:
        output.differs([str(difference) for difference in differences])


def _what_counts(config: dict[str, Any]) -> dict[str, Any]:
    """Data are the same, whether they were fetched or found."""
    return {key: value for key, value in config.items() if key != "download"}


def _with_config(manifest: Manifest, config: dict[str, Any]) -> Manifest:
    return Manifest(**{**vars(manifest), "config": config})


def _listed(differences: Iterable[ManifestDifference]) -> str:
    return "\n".join(f"  {difference}" for difference in differences)


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "none"
