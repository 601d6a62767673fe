"""The plugin of resumed runs, trained and validated in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.resume.tiny_plugin import Likely


class Mixed(Likely):
    def train_epoch(self, model: nn.Module, loader: Any, optimizer: Any, compression: Any) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return super().train_epoch(model, loader, optimizer, compression)

    def validate(self, model: nn.Module, loader: Any) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return super().validate(model, loader)
