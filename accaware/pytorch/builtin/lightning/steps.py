"""A module's steps, called as Lightning calls them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from accaware.errors import PluginContractError
from accaware.pytorch.distributed.agreement import is_one_of_several
from accaware.pytorch.training.classification import Compression
from accaware.pytorch.training.mixed_precision import full_precision


class TrainingStep(nn.Module):
    """All that a step's loss is made of, as a forward: DistributedDataParallel knows no other.

    The LightningModule's own forward stays what it is for whoever watches it.

    Args:
        module: the LightningModule.
    """

    def __init__(self, module: Any, compression: Compression) -> None:
        super().__init__()
        self._module = module
        self._compression = compression
        # Nothing is made of it: where torch looks for such parameters and finds none, it complains.
        self.spare = nn.Parameter(next(module.parameters()).new_zeros(()))

    def forward(self, batch: Any, index: int) -> tuple[Any, Tensor | None, Tensor | None]:
        """What training_step returned, the loss in it, and that with compression's.

        Returns:
            None for both losses where the module leaves the batch out.

        Raises:
            PluginContractError: there is no loss; or a batch is left out by one of several
                processes.
        """
        outputs = call_step(self._module.training_step, batch, index)
        loss = _loss_of(outputs)
        if loss is None:
            if is_one_of_several():
                raise PluginContractError(
                    "training_step returned None to leave a batch out, and the other processes "
                    "wait for this one's gradients: return a loss of 0 times the outputs instead"
                )
            return outputs, None, None
        with full_precision():
            return outputs, loss, loss + self._compression.loss()


def call_step(step: Any, batch: Any, index: int) -> Any:
    """A step may do without the number of the batch."""
    return step(batch, index) if len(inspect.signature(step).parameters) > 1 else step(batch)


def _loss_of(outputs: Any) -> Tensor | None:
    """None where the module leaves the batch out."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if outputs is None or (isinstance(loss, Tensor) and loss.numel() == 1):
        return loss
    raise PluginContractError(
        "training_step must return the loss, or a dict with it by that name, or None to leave the "
        f"batch out; it returned {type(outputs).__name__}"
    )
