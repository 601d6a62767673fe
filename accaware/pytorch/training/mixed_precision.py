"""Automatic mixed precision where a device gains from it (Micikevicius et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer


class MixedPrecision:
    """bfloat16 where the device computes in it, float16 with scaled gradients on older GPUs.

    On anything else it is full precision: emulated, bfloat16 is slower than float32.
    """

    def __init__(self) -> None:
        old = torch.cuda.is_available() and not _cuda_has_bfloat16()
        self.scaler = torch.amp.GradScaler("cuda", enabled=old)

    def forward(self, device: torch.device) -> AbstractContextManager[object]:
        """For the model's forward and the loss."""
        if device.type == "cuda":
            kind = torch.float16 if self.scaler.is_enabled() else torch.bfloat16
            return torch.autocast("cuda", kind)
        return torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and cpu_gains())

    def step(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Backward, and a step of the optimizer."""
        if loss.device.type != "cuda" or not self.scaler.is_enabled():
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(optimizer)
        self.scaler.update()


@contextmanager
def full_precision() -> Iterator[None]:
    """Outside of autocast, whoever has entered it."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def cpu_gains() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware."""
    known = torch.cpu.get_capabilities()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def _cuda_has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
