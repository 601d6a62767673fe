"""How much a model's metric depends on each of its parts, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from accaware.errors import UsageError
from accaware.plugins.plugin import guarded
from accaware.pytorch.compression.pruning.dense_state import DenseState
from accaware.pytorch.data.batches import to_device
from accaware.pytorch.data.loaders import LoaderProxy
from accaware.pytorch.inspection.parts import TriedPart
from accaware.pytorch.model.inputs import batch_size_of
from accaware.pytorch.training.task import PluginTask
from accaware.results.inspection import PartSensitivity, Sensitivity

SHARES = (0.1, 0.3, 0.5)


def sensitivity_of(
    task: PluginTask,
    parts: Sequence[TriedPart],
    samples: int,
    dense_state: DenseState,
    report: Callable[[str, int, int], None],
) -> Sensitivity:
    """Validate with a share of each part removed, one part at a time.

    Args:
        samples: of the validation data, as many at the most. Where a data loader of the user's
            can't be cut between two batches, whole batches until there are that many.
        report: what is done, how often it was, and how often it will be.

    Raises:
        UsageError: there are no parts.
        PluginFailure: the user's code raised.
    """
    if not parts:
        raise UsageError(
            "--samples measures how sensitive a model is to filter_pruning or magnitude_sparsity; "
            "the config has neither"
        )
    loader, count = guarded("the validation data", _sampled, task.validation_data, samples)
    batches = _OnDevice(loader, task.device)

    def metric() -> float:
        value = task.validate_on(batches, task.model)
        dense_state.restore_parts()
        return value

    baseline = metric()
    found = []
    for done, each in enumerate(parts):
        report("sensitivity", done, len(parts))
        metrics = []
        for share in SHARES:
            with each.without(share):
                metrics.append(metric())
        found.append(PartSensitivity(part=each.part.number, metrics=tuple(metrics)))
    return Sensitivity(samples=count, baseline=baseline, shares=SHARES, parts=tuple(found))


def _sampled(loader: Any, samples: int) -> tuple[Any, int]:
    """A loader of the same samples each time, held in memory, and how many they are."""
    if (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_size is not None
    ):
        size = len(loader.dataset)  # type: ignore[arg-type]
        count = min(samples, size)
        # Evenly spread: many datasets have their classes one after the other.
        held: Any = [loader.dataset[at * size // count] for at in range(count)]
        return DataLoader(held, loader.batch_size, collate_fn=loader.collate_fn), count
    batches: list[Any] = []
    seen = 0
    for batch in loader:
        batches.append(batch)
        seen += batch_size_of(batch)
        if seen >= samples:
            break
    return _Batches(batches, loader), seen


class _Batches(LoaderProxy):
    """Some of a loader's batches."""

    def __init__(self, batches: list[Any], loader: Any) -> None:
        super().__init__(loader)
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class _OnDevice(LoaderProxy):
    def __init__(self, loader: Any, device: torch.device) -> None:
        super().__init__(loader)
        self._device = device

    def __iter__(self) -> Iterator[Any]:
        return (to_device(batch, self._device) for batch in self._loader)
