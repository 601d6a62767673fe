"""The epochs of a trial: trained, validated, judged, and the best one kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from accaware.search.budget import AccuracyBudget
from accaware.search.metric import Measurement
from accaware.search.params import SearchParams
from accaware.search.ports import CompressionController, Runner
from accaware.search.strategies.learning_curve import can_still_pass
from accaware.search.trial import Epoch, TrialRecord


@dataclass(frozen=True)
class TrialRules:
    """What a trial is judged by.

    Attributes:
        validate_every_n_epochs: and at the last one.
        along_a_cosine: whether the learning rate falls within a trial.
    """

    budget: AccuracyBudget
    validate_every_n_epochs: int = 1
    along_a_cosine: bool = False

    @classmethod
    def of(cls, params: SearchParams, budget: AccuracyBudget) -> TrialRules:
        """Those of a search."""
        cosine = params.trial_learning_rate == "cosine"
        return cls(budget, params.validate_every_n_epochs, cosine)


class TrialTraining:
    """Trains and judges one epoch after another, wherever a trial is run.

    Args:
        name_of: of the checkpoint of a trial's best epoch.
        warn: told what the user should know of an epoch.
        clock: seconds from some moment on.
    """

    def __init__(
        self,
        runner: Runner,
        controller: CompressionController,
        rules: TrialRules,
        *,
        name_of: Callable[[TrialRecord, Epoch], str],
        warn: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._runner = runner
        self._controller = controller
        self.rules = rules
        self._name_of = name_of
        self._warn = warn
        self._clock = clock
        self.epochs = 0
        """Trained so far."""

    def epoch(self, record: TrialRecord, *, last: bool, fully_compressed: bool) -> Epoch:
        """Train one epoch, validate where it is due, and keep it where it is the best."""
        runner, number = self._runner, self.epochs + 1
        began = self._clock()
        loss = runner.train_epoch(number - 1)
        self.epochs = number
        due = last or (record.trained + 1) % self.rules.validate_every_n_epochs == 0
        sound = loss is None or math.isfinite(loss)
        measured = self.validated(number - 1) if due and sound else None
        epoch = Epoch(
            number=number,
            fully_compressed=fully_compressed,
            loss=loss,
            metric=measured.value if measured else None,
            standard_error=measured.standard_error if measured else None,
            compression_rate=self._controller.compression_rate,
            model_sparsity=self._controller.model_sparsity,
            seconds=self._clock() - began,
        )
        for message in runner.warnings():
            self._warn(message)
        self.judge(record, epoch)
        if record.failure is None:
            runner.end_epoch(number - 1, loss, epoch.metric)
            if epoch.metric is not None and fully_compressed:
                record.stopped_by_user = runner.asks_to_stop(epoch.metric)
        return epoch

    def validated(self, epoch: int) -> Measurement:
        """What the runner measures.

        Raises:
            PluginContractError: it can't be judged with the confidence that is required. Said
                here, before the epoch is a part of the history.
        """
        measured = self._runner.validate(epoch)
        self.rules.budget.admits(measured.value, measured.standard_error)
        return measured

    def judge(self, record: TrialRecord, epoch: Epoch) -> None:
        """Take an epoch into the record, and save its weights where it is the best."""
        if record.add(epoch, self.rules.budget):
            record.keep(epoch, self._runner.save(self._name_of(record, epoch)))

    def anneal(self, epoch: int, epochs: int) -> None:
        """Where the learning rate falls within a trial, give it that of an epoch, from 0."""
        if self.rules.along_a_cosine:
            self._runner.anneal((1 + math.cos(math.pi * epoch / epochs)) / 2)

    def has_passed(self, epoch: Epoch) -> bool:
        """Whether an epoch is within budget at full compression."""
        admitted = self.rules.budget.admits(epoch.metric, epoch.standard_error)
        return epoch.fully_compressed and admitted

    def can_still_pass(self, record: TrialRecord, epochs_left: int) -> bool:
        """Whether a trial may be within budget by its end, judged by how it went so far."""
        margins = [
            self.rules.budget.margin(epoch.metric, epoch.standard_error)
            for epoch in record.epochs
            if epoch.metric is not None
        ]
        left = -(-epochs_left // self.rules.validate_every_n_epochs)
        return can_still_pass(margins, left)

    def is_over(
        self,
        record: TrialRecord,
        epoch: Epoch,
        epochs_left: int,
        *,
        ends_within_budget: bool,
        gives_up: bool,
    ) -> bool:
        """Whether a trial at one rate ends behind this epoch; a trial given up is told so."""
        if gives_up and not self.can_still_pass(record, epochs_left):
            record.given_up = True
        passed = ends_within_budget and self.has_passed(epoch)
        return passed or record.given_up or record.is_broken_off or epochs_left == 0
