"""What train_epoch gets in the model's place where several processes train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch.data.batch_statistics import single_values_allowed
from accaware.pytorch.data.random_state import kept_randomness
from accaware.pytorch.distributed.agreement import gathered, is_one_of_several, take_from_first
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.device import raise_if_out_of_memory
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import tensors_in
from accaware.pytorch.model.wrappers import Replica, is_compiler, unwrapped

_CLOSE = 1e-3
"""How far weights may be apart, relatively: unlike devices round their steps in their own ways."""

_APART = (
    "the processes' weights were no longer the same after train_epoch, and the first one's count: "
    "gradients are averaged where train_epoch calls the model that it was handed, as a whole, and "
    "each process does as many steps"
)

_AVERAGES = "accaware_averages_gradients"

TrainEpoch = TypeVar("TrainEpoch", bound=Callable[..., Any])


def averages_gradients(train_epoch: TrainEpoch) -> TrainEpoch:
    """Mark a plugin's train_epoch that gets the bare model and makes a replica by itself.

    It computes more than what the model gives when it is called.
    """
    setattr(train_epoch, _AVERAGES, True)
    return train_epoch


class Replicas:
    """Gives train_epoch a replica of the model, and sees that the processes end it with one model.

    With a single process that is the model itself.

    Args:
        sync_batchnorm: whether batch norms that train normalise by all processes' batches.
        warn: told, once, where the weights were no longer the same.
    """

    def __init__(self, *, sync_batchnorm: bool, warn: Callable[[str], None]) -> None:
        self._sync_batchnorm = sync_batchnorm
        self._warn = warn
        self._told = False
        self.example: tuple[ExampleInputs, Callable[[Any], Any]] | None = None
        """An example of the model's inputs, and what of its outputs a loss reads; None for all"""
        self._known: tuple[object, list[str]] = None, []

    @contextmanager
    def training(
        self, model: nn.Module, train_epoch: Callable[..., Any] | None = None
    ) -> Iterator[nn.Module]:
        """What is to be trained meanwhile; afterwards all processes have the first one's model.

        Args:
            model: the same in all processes, in torch.compile's or DataParallel's wrapper if it
                came in one.
            train_epoch: that trains it, where it is the plugin's.
        """
        if not is_one_of_several():
            yield model
            return
        within = unwrapped(model)
        module = model if is_compiler(model) else within
        with self._synchronized(within):
            if getattr(train_epoch, _AVERAGES, False):
                yield module
            else:
                # Anew each time: of what it remembers of earlier steps no resumed run knows.
                yield Replica(module, self._unused(module))
        self._agree(within)

    def _unused(self, model: nn.Module) -> list[str]:
        """The parameters that a loss of the example's outputs doesn't depend on."""
        if self.example is None:
            return []
        signature = id(model), [(each.shape, each.requires_grad) for each in model.parameters()]
        if self._known[0] != signature:
            self._known = signature, self._found_unused(model, *self.example)
        return self._known[1]

    def _found_unused(
        self, model: nn.Module, inputs: ExampleInputs, read: Callable[[Any], Any]
    ) -> list[str]:
        trial = copied(model).train()
        device = next(model.parameters()).device
        try:
            with kept_randomness((), device), single_values_allowed(trial), torch.enable_grad():
                outputs = tensors_in(read(inputs.call(trial)))
                sums = [each.float().sum() for each in outputs if each.requires_grad]
                torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - a model that trains on more than its inputs
            raise_if_out_of_memory(error)
            return []
        named = trial.named_parameters()
        return [name for name, each in named if each.requires_grad and each.grad is None]

    @contextmanager
    def _synchronized(self, model: nn.Module) -> Iterator[None]:
        """Batch norms are torch's SyncBatchNorm meanwhile, with all that they have."""
        norms = [
            module
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and self._sync_batchnorm
        ]
        kinds = [type(norm) for norm in norms]
        for norm in norms:
            norm.__class__ = nn.SyncBatchNorm
            vars(norm)["process_group"] = None  # all processes
        try:
            yield
        finally:
            for norm, kind in zip(norms, kinds, strict=True):
                del vars(norm)["process_group"]
                norm.__class__ = kind

    def _agree(self, model: nn.Module) -> None:
        """Each process has normalised by batches of its own; the first one's statistics count."""
        weights = [each for each in model.parameters() if each.requires_grad]
        apart = not _same(weights)
        if apart and not self._told:
            self._told = True
            self._warn(_APART)
        take_from_first((*model.buffers(), *(weights if apart else ())))


def check_can_synchronize(model: nn.Module, device: torch.device) -> None:
    """See that torch's SyncBatchNorm computes on the device.

    Raises:
        UsageError: it doesn't.
    """
    norms = (nn.modules.batchnorm._BatchNorm,)
    if (
        is_one_of_several()
        and device.type != "cuda"
        and any(isinstance(module, norms) for module in model.modules())
    ):
        raise UsageError(
            f"sync_batchnorm: torch synchronizes batch norms on GPUs alone, and the model is on "
            f"{device}"
        )


@torch.no_grad()
def _same(weights: Sequence[Tensor]) -> bool:
    """Whether all processes have the same weights; every one of them has to ask."""
    if not weights:
        return True
    squares = torch.stack([each.float().square().sum().to(weights[0].device) for each in weights])
    first, *others = gathered(squares.tolist())
    expected = torch.tensor(first)
    return all(
        torch.allclose(torch.tensor(other), expected, rtol=_CLOSE, equal_nan=True)
        for other in others
    )
