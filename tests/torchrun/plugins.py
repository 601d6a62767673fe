"""Plugins as they are written for one process, and what they saw in several."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from accaware.pytorch.training import classification
from tests.resume.tiny_plugin import Noisy, Tiny

RANK = "RANK"


def digest_of(model: nn.Module) -> str:
    """Of the layout and of every tensor to the bit; gradients' wrapper aside."""
    found = hashlib.sha256()
    for name, value in getattr(model, "module", model).state_dict().items():
        found.update(f"{name} {list(value.shape)}".encode())
        found.update(value.detach().numpy().tobytes())
    return found.hexdigest()


def names_in(model: Any) -> list[Any]:
    """What a training may go by, of a Sequential; nothing of another model."""
    if not isinstance(getattr(model, "module", model), nn.Sequential):
        return []
    return [
        len(model),
        type(model[0]).__name__,
        [type(layer).__name__ for layer in model],
        model[-1] in model.modules(),
        *([name for name, _ in named] for named in (
            model.named_modules(), model.named_parameters(), model.named_buffers()
        )),
        list(model.state_dict()),
        str(model.load_state_dict(model.state_dict())),
        len(copy.deepcopy(model)),
    ]  # fmt: skip


class Watched(Tiny):
    """Notes what it was handed, and what became of it, in ``FOLDER/RANK.jsonl``.

    Args:
        folder: empty for the one where the process works.
        autocast: train in bfloat16.
        breaks: what the process of this rank does, once, before the second batch of the third
            epoch: raise, run out of memory, hang, or get the signal of this number.
        rank: of that process; -1 for all.
        validating: do it before the second batch of a later validation instead.
    """

    def __init__(
        self,
        folder: str = "",
        autocast: bool = False,
        breaks: str | None = None,
        rank: int = 1,
        validating: bool = False,
    ) -> None:
        super().__init__()
        own = int(os.environ.get(RANK, 0))
        self._notes = Path(folder) / f"{own}.jsonl"
        self._broken = Path(folder) / f"broken-{own}"
        self._autocast = autocast
        self._breaks = breaks if rank in (own, -1) else None
        self._validating = validating

    def note(self, **seen: Any) -> None:
        with self._notes.open("a") as file:
            file.write(json.dumps(seen) + "\n")

    def create_model(self) -> nn.Module:
        model = super().create_model()
        model.words = "found on the wrapper too"
        return model

    def create_datasets(self) -> tuple[Dataset[Any], Dataset[Any]]:
        # Neither is a multiple of two.
        return Subset(Noisy(0), range(95)), Subset(Fixed(), range(91))

    def train_epoch(self, model: Any, loader: Any, optimizer: Any, compression: Any) -> float:
        self.epochs += 1
        self.note(
            before=digest_of(model),
            wrapper=type(model).__name__,
            words=model.words,
            names=names_in(model),
            batches=len(loader),
            rates=[group["lr"] for group in optimizer.param_groups],
        )
        loss = self._trained(model, self._watched(loader), optimizer, compression)
        self.note(random=float(torch.rand(())), weights=[list(p.shape) for p in model.parameters()])
        return loss

    def _trained(self, model: Any, loader: Any, optimizer: Any, compression: Any) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            return classification.train_epoch(
                model, loader, optimizer, compression, classification.cross_entropy
            )

    def _watched(self, loader: Any) -> Any:
        for number, batch in enumerate(loader):
            if number == 1 and self.epochs == 3 and not self._validating:
                self.break_down()
            yield batch

    def break_down(self) -> None:
        if self._breaks is None or self._broken.exists():
            return
        self._broken.touch()
        if self._breaks == "raise":
            raise ValueError("the plugin fails here")
        if self._breaks == "hang":
            time.sleep(600)
        if self._breaks == "memory":
            raise torch.OutOfMemoryError("tried to allocate 1 GiB")
        os.kill(os.getpid(), int(self._breaks))


class Fixed(Noisy):
    """Without augmentation: what one process validates is what several do."""

    def __init__(self) -> None:
        super().__init__(1)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        return self._images[at], int(self._classes[at])


class Judged(Watched):
    """Validates by itself, and every process finds another number."""

    _validating: bool

    def validate(self, model: nn.Module, loader: Any) -> float:
        samples = 0
        for number, (_, classes) in enumerate(loader):
            samples += len(classes)
            if self._validating and self.epochs == 2 and number == 0:
                self.break_down()
        self.note(validated=digest_of(model), samples=samples)
        return 10.0 + 2 * int(os.environ.get(RANK, 0))


class Mixed(Watched):
    """Trains and validates in half precision; with float16 gradients are scaled.

    Args:
        half: bfloat16 or float16.
    """

    def __init__(self, half: str) -> None:
        super().__init__()
        self._half = getattr(torch, half)
        self.scaler = torch.amp.GradScaler("cpu", enabled=half == "float16")

    def _trained(self, model: Any, loader: Any, optimizer: Any, compression: Any) -> float:
        """In each epoch the second process has a batch whose gradients are too large for a step."""
        stepped, scales = [], []
        filters = next(model.parameters())
        for number, (images, classes) in enumerate(loader):
            with torch.autocast("cpu", self._half):
                outputs = model(images)
                loss = nn.functional.cross_entropy(outputs, classes) + compression.loss()
            if self.scaler.is_enabled() and number == 1 and os.environ.get(RANK) == "1":
                loss = 1e38 * loss
            before = filters.detach().clone()
            optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(optimizer)
            self.scaler.update()
            compression.step()
            stepped.append(not torch.equal(filters, before))
            scales.append(self.scaler.get_scale())
        weights = [each.detach().double().sum().item() for each in model.parameters()]
        self.note(half=str(outputs.dtype), stepped=stepped, scales=scales, trained=weights)
        return loss.item()

    @classification.by_sample
    def validate(self, model: nn.Module, loader: Any) -> Any:
        with torch.autocast("cpu", self._half):
            return classification.validate(model, loader)


class Loading(Watched):
    """Brings loaders that know nothing of several processes, and a model with a part for later."""

    create_datasets = None  # type: ignore[assignment]

    def create_model(self) -> nn.Module:
        return WithSpare(super().create_model())

    def create_dataloaders(self) -> tuple[Any, Any]:
        return DataLoader(Noisy(0), 16), DataLoader(Fixed(), 32)


class WithSpare(nn.Module):
    """A layer of it isn't used."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.words = body.words
        self.spare = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Any:
        return self.body(images)
