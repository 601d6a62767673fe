"""What stands in a module's ``trainer`` meanwhile: little, and the reason why not more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from accaware.errors import PluginContractError
from accaware.pytorch.builtin.lightning.logs import Logs
from accaware.pytorch.distributed.agreement import (
    is_first,
    local_processes,
    local_rank,
    processes,
    rank,
)

_NEEDED_BY_TRAINERS = (
    "backward", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step",
    "configure_gradient_clipping", "configure_model", "configure_sharded_model",
    "transfer_batch_to_device", "on_before_batch_transfer", "on_after_batch_transfer",
    "on_fit_start", "on_train_start", "on_validation_start", "on_before_zero_grad",
    "on_before_backward", "on_after_backward", "on_before_optimizer_step",
    "on_validation_model_eval", "on_validation_model_train",
)  # fmt: skip
"""Hooks that would have to run within a training step, or before there is a search."""


class NoTrainer:
    """How far the training is. Whatever else of a Trainer is asked for is an error that says so.

    Attributes:
        current_epoch, global_step: epochs and optimizer steps of this trial.
        training, validating: which of the two runs.
        world_size, global_rank, is_global_zero: how many processes there are, and which this is.
        num_devices, local_rank: the same of those on this machine.
    """

    def __init__(self, module: str, datamodule: Any) -> None:
        self._module = module
        self.datamodule = datamodule
        self.current_epoch = self.global_step = 0
        self.training = self.validating = self.sanity_checking = False
        self.is_global_zero = is_first()
        self.world_size, self.global_rank = processes(), rank()
        self.num_devices, self.local_rank = local_processes(), local_rank()
        self.logger = None
        self.loggers: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of copying and the like, where an absence is an answer
            raise AttributeError(name)
        raise PluginContractError(
            f"{self._module} asks for trainer.{name}, and no Trainer runs here: accaware trains "
            "by training_step itself, and how long a trial lasts is the search's to say"
        )

    @contextmanager
    def attached_to(self, module: nn.Module, logs: Logs, *, training: bool) -> Iterator[None]:
        """The module has this for its trainer, and logs to these, meanwhile."""
        self.training, self.validating = training, not training
        self.hold(module)
        instead = {"log": logs.log, "log_dict": logs.log_dict}
        vars(module).update(instead)
        try:
            yield
        finally:
            for name in instead:
                del vars(module)[name]
            self.release(module)

    def hold(self, module: Any) -> None:
        """Be the module's trainer."""
        module.trainer = self

    def release(self, module: Any) -> None:
        """The module is as Lightning made it; a copy of it has nothing of ours."""
        module.trainer = None


def check_needs_no_trainer(module: nn.Module) -> None:
    """Faults of a module that accaware can't train as it is.

    Raises:
        PluginContractError: names what it has that a Trainer would be needed for.
    """
    kind = type(module)
    name = kind.__name__
    lacking = [
        each
        for each in ("forward", "training_step", "validation_step", "configure_optimizers")
        if not _own(kind, each)
    ]
    if lacking:
        raise PluginContractError(f"{name} has no {' and no '.join(lacking)}")
    found = [each for each in _NEEDED_BY_TRAINERS if _own(kind, each)]
    if found:
        raise PluginContractError(
            f"{name} overrides {', '.join(found)}, which Lightning's Trainer calls and accaware, "
            "which trains without one, doesn't"
        )
    if not getattr(module, "automatic_optimization", True):
        raise PluginContractError(
            f"{name} has automatic_optimization = False: manual optimization is up to Lightning's "
            "Trainer; a plugin with a train_epoch of its own can do it"
        )


def _own(kind: type, function: str) -> bool:
    """Whether a class, or one that it is made of, has a function that isn't Lightning's."""
    for each in kind.__mro__:
        if function in vars(each):
            return each.__module__.split(".")[0] not in ("lightning", "pytorch_lightning", "torch")
    return False
