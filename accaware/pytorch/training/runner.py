"""The Runner over PyTorch: the user's functions, optimizers, schedules and checkpoints."""

from __future__ import annotations

import inspect
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from accaware.errors import PluginFailure
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.state.state_files import StateFiles
from accaware.pytorch.training.learning_rate import scale_learning_rate, schedulers_in, state_of
from accaware.pytorch.training.returned import number_of, optimizer_and_schedule
from accaware.pytorch.training.weight_average import WeightAverage
from accaware.search.metric import DenseReferences, Measurement
from accaware.search.ports import TrainingCallbacks
from accaware.search.trial import Checkpoint

T = TypeVar("T")

_SHAPES = re.compile(r"\b(sizes?|shapes?)\b")

_OLD_SHAPES = (
    "pruning has changed the shapes of the model's layers. What was made of the model before, as "
    "an averaged copy of it (AveragedModel, EMA), still has the old ones: make it in train_epoch, "
    "and anew where the shapes of model.parameters() are no longer its own"
)

_UNUSED_DISTILLATION = (
    "knowledge distillation has no effect, be it of the config or of its preset: train_epoch never "
    "asked for its loss; add compression.loss() (of a script's controller: controller.loss()) to "
    "the training loss"
)

_UNUSED_AVERAGING = (
    "weight_averaging has no effect: train_epoch never stepped the optimizer that it was given"
)


class TorchRunner:
    """Trains and validates one model with the user's functions.

    Args:
        model: what the controller compresses, or a wrapper around it.
        log_dir: keeps the checkpoints; None for a temporary folder that goes with the runner.
        weight_averaging: none, or polynomial: then averaged weights are validated and saved, and
            training goes on with the others.
        references: the dense model's samples, to pair measurements with; None for none.
        told: warnings that the user had already.
        warnings: asked after each epoch for more of them.
    """

    def __init__(
        self,
        model: nn.Module,
        controller: PTCompressionController,
        callbacks: TrainingCallbacks,
        log_dir: str | None = None,
        *,
        weight_averaging: str = "none",
        references: DenseReferences | None = None,
        told: Iterable[str] = (),
        warnings: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._references = references or DenseReferences()
        self._model = model
        self._controller = controller
        self._callbacks = callbacks
        if log_dir is None:
            log_dir = tempfile.mkdtemp(prefix="accaware-")
            weakref.finalize(self, shutil.rmtree, log_dir, ignore_errors=True)
        self._folder = Path(log_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.files = StateFiles(self._folder)
        self._dumps: dict[Checkpoint, Any] = {}
        self._average: WeightAverage | None = None
        if weight_averaging == "polynomial":
            self._average = WeightAverage(controller.model)
            controller.after_change = self._average.restart
        self._averaged_none = False
        self._trained = False
        self._warned = set(told)
        self._more_warnings = warnings
        self._share = 1.0
        self.optimizer: Optimizer | None = None
        self.lr_scheduler: Any = None

    def agree(self, value: T) -> T:
        """The value itself, as there is one process."""
        return value

    def start(self, lr_factor: float) -> None:
        """The user's optimizer and schedules, made anew and scaled."""
        optimizer, scheduler = self._configure()
        if lr_factor != 1:
            scale_learning_rate(optimizer, schedulers_in(scheduler), lr_factor)
        self._share = 1.0
        self._follow(optimizer)

    def anneal(self, share: float) -> None:
        """Scale the learning rate, and the user's own schedule of it, to a share of theirs."""
        assert self.optimizer is not None
        schedulers = schedulers_in(self.lr_scheduler)
        scale_learning_rate(self.optimizer, schedulers, share / self._share)
        self._share = share

    def _configure(self) -> tuple[Optimizer, Any]:
        optimizer, scheduler = optimizer_and_schedule(self._callbacks.configure_optimizers_fn())
        self.optimizer, self.lr_scheduler = optimizer, scheduler
        return optimizer, scheduler

    def _follow(self, optimizer: Optimizer) -> None:
        self._controller.release_optimizers()
        self._controller.attach_optimizer(optimizer)
        # After the algorithm, which may hold weights at zero.
        if self._average is not None:
            self._average.follow(optimizer)

    def train_epoch(self, epoch: int) -> float | None:
        """Call the user's training for an epoch, and check that its loss is a number or None."""
        steps = self._average and self._average.steps
        with self._explaining():
            loss = self._callbacks.train_epoch_fn(
                self._controller,
                self._model,
                epoch=epoch,
                optimizer=self.optimizer,
                lr_scheduler=self.lr_scheduler,
            )
        self._controller.end_training_step()
        self._trained = True
        if self._average is not None:
            self._averaged_none = self._average.steps == steps
            if self._averaged_none:
                # The weights are another optimizer's, and what was averaged before is out of date.
                self._average.restart()
        return None if loss is None else number_of(loss, "train_epoch", "a loss or None")

    def validate(self, epoch: int) -> Measurement:
        """Call the user's validation, and check that it gives a number."""
        metric = self._metric(self._callbacks.validate_fn, "validate", epoch)
        return self._references.validation.measured(metric)

    def confirm(self, epoch: int) -> Measurement:
        """The same on the data that confirm the final model."""
        assert self._callbacks.confirm_fn is not None
        metric = self._metric(self._callbacks.confirm_fn, "confirm_fn", epoch)
        return self._references.confirmation.measured(metric)

    def _metric(self, validate: Callable[..., float], name: str, epoch: int) -> float:
        extra = {"epoch": epoch} if _accepts(validate, "epoch") else {}
        if self._average is not None and self._trained:
            self._average.recalibrate(self._controller.recalibrate)
        self._trained = False
        with self._explaining(), self._averaged():
            metric = validate(self._model, **extra)
        return number_of(metric, name, "the metric, a number")

    def _averaged(self) -> AbstractContextManager[None]:
        """The model has its averaged weights meanwhile, if there are any."""
        return nullcontext() if self._average is None else self._average.in_place()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """An exception that looks like one about old shapes says where those come from."""
        try:
            yield
        except Exception as error:
            pruned = self._controller.algorithm.kept_masks()
            cause = error.original if isinstance(error, PluginFailure) else error
            if pruned and isinstance(cause, RuntimeError) and _SHAPES.search(str(cause)):
                error.add_note(_OLD_SHAPES)
            raise

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None:
        """Step the schedules, or let the user's function do so; a plateau needs a metric."""
        update = self._callbacks.update_learning_rate_fn
        if update is not None:
            update(self.lr_scheduler, epoch, metric, loss)
            return
        for scheduler in schedulers_in(self.lr_scheduler):
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            elif metric is not None:
                scheduler.step(metric)

    def asks_to_stop(self, metric: float) -> bool:
        """What the user's early stopping says of a metric; False where there is none."""
        stop = self._callbacks.early_stopping_fn
        return stop is not None and bool(stop(metric))

    def warnings(self) -> Sequence[str]:
        """What was asked for and had no effect, after the first epoch that did without."""
        distillation = self._controller.distillation
        found = [*self._controller.warnings(), *self._more_warnings()]
        if distillation is not None and not distillation.used:
            found.append(_UNUSED_DISTILLATION)
        if self._averaged_none:
            found.append(_UNUSED_AVERAGING)
        new = [message for message in found if message not in self._warned]
        self._warned.update(new)
        return new

    def save(self, name: str) -> Checkpoint:
        """Write weights and compression state, and let the user dump what they like beside them."""
        checkpoint = Checkpoint(name)
        with self._averaged():
            self.files.write(name, self._controller.state_dict())
            self._dump(checkpoint)
        return checkpoint

    def _dump(self, checkpoint: Checkpoint) -> None:
        dump = self._callbacks.dump_checkpoint_fn
        if dump is None:
            return
        # A folder of its own, so that a file name that is always the same does no harm.
        folder = self._dump_folder(checkpoint)
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier save by this name
        folder.mkdir(exist_ok=True)
        path = dump(self._model, self._controller, self, str(folder))
        overwritten = [other for other, its in self._dumps.items() if its == path]
        for other in overwritten:
            del self._dumps[other]
        self._dumps[checkpoint] = path

    def load(self, checkpoint: Checkpoint) -> None:
        """Bring back what a checkpoint kept, and let the user load what they dumped."""
        self.bring_back(self.kept(checkpoint))

    def kept(self, checkpoint: Checkpoint) -> tuple[Any, Any]:
        """The controller's state, and what ``dump_checkpoint_fn`` returned, None for nothing.

        Raises:
            CheckpointError: it can't be read.
        """
        return self.files.read(checkpoint), self._dumps.get(checkpoint)

    def bring_back(self, kept: tuple[Any, Any]) -> None:
        """Go back to what ``kept`` gave."""
        state, dump = kept
        # The model's own state comes first: it gives the model the shapes that fit the dump.
        self._controller.load_state_dict(state)
        load = self._callbacks.load_checkpoint_fn
        if load is not None and dump is not None:
            load(self._model, dump)

    def discard(self, checkpoint: Checkpoint) -> None:
        """Remove a checkpoint's file, and the folder of the user's dump."""
        self.files.discard(checkpoint)
        self._dumps.pop(checkpoint, None)
        if self._callbacks.dump_checkpoint_fn is not None:
            shutil.rmtree(self._dump_folder(checkpoint), ignore_errors=True)

    def _dump_folder(self, checkpoint: Checkpoint) -> Path:
        """For the files of the user's own."""
        return self._folder / checkpoint

    def state_dict(self) -> dict[str, Any]:
        """Of the training, not the model: optimizer, schedules, modes, averaged weights.

        Raises:
            UnkeepableError: a learning-rate scheduler has no state to ask for.
        """
        return {
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "schedules": [state_of(schedule) for schedule in schedulers_in(self.lr_scheduler)],
            "modes": [module.training for module in self._model.modules()],
            "warned": sorted(self._warned),
            "average": self._average and self._average.state_dict(),
            "share": self._share,
            "dense": self._references.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``, with an optimizer of this model, which has its shapes again.

        Raises:
            ValueError: the optimizer or its schedules are others.
        """
        self._warned = set(state["warned"])
        self._share = state["share"]
        # Not there in a run that an earlier accaware began.
        if "dense" in state:
            self._references.load_state_dict(state["dense"])
        for module, training in zip(self._model.modules(), state["modes"], strict=True):
            module.training = training
        if state["optimizer"] is None:
            return
        optimizer, scheduler = self._configure()
        optimizer.load_state_dict(state["optimizer"])
        for schedule, its in zip(schedulers_in(scheduler), state["schedules"], strict=True):
            schedule.load_state_dict(its)
        self._follow(optimizer)
        if self._average is not None and state["average"] is not None:
            self._average.load_state_dict(state["average"])


def _accepts(function: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    kinds = {parameter.kind for parameter in parameters.values()}
    return name in parameters or inspect.Parameter.VAR_KEYWORD in kinds
