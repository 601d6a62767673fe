"""Averaged weights, held against a plain average of the weights that each step left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware import AccAwareConfig, create_accuracy_aware_training_loop
from accaware.errors import UsageError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.model.wrappers import unwrapped
from accaware.pytorch.training.weight_average import WeightAverage
from accaware.search.events import Event, Warned
from accaware.search.params import AdaptiveParams, EarlyExitParams
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, SPARSITY, adaptive, early_exit
from tests.runners.torch_case import BATCH, TRAINING_IMAGES, accuracy, digits, trained_model

Values = dict[str, Tensor]


def averaged_of(model: nn.Module) -> Values:
    """All that is to be averaged, in double precision: parameters and running statistics."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: tensor.detach().double()
        for name, tensor in named.items()
        if not name.endswith("num_batches_tracked")
    }


class Reference:
    """Polynomial-decay averaging as its paper writes it, eta = 8, of the iterates 1 to t."""

    def __init__(self) -> None:
        self.values: Values = {}
        self.rounds = 0

    def add(self, model: nn.Module) -> None:
        self.rounds += 1
        share = (8 + 1) / (self.rounds + 8)
        now = averaged_of(model)
        before = self.values or now
        self.values = {name: (1 - share) * before[name] + share * its for name, its in now.items()}

    def forget(self) -> None:
        self.values, self.rounds = {}, 0


def check_close(model: nn.Module, values: Values) -> None:
    found = averaged_of(model)
    assert list(found) == list(values)
    for name, expected in values.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-6, msg=name)


def bits(model: nn.Module) -> dict[str, bytes]:
    state = model.state_dict()
    return {
        name: value.flatten().view(torch.uint8).numpy().tobytes() for name, value in state.items()
    }


# By itself ---------------------------------------------------------------------------------------


class Tied(nn.Module):
    """A weight that two layers share, one that is frozen, and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("offset", torch.randn(6))

    def forward(self, rows: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.second(self.first(rows).relu()))
        return self.frozen(hidden + self.offset)


def trainer(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    def step() -> None:
        rows = torch.randn(16, 6).to(next(model.parameters()).dtype)
        optimizer.zero_grad()
        (model(rows).float() - rows.float().roll(1, 1)).square().mean().backward()
        optimizer.step()

    return step


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def test_it_is_the_papers_average_of_parameters_and_statistics() -> None:
    torch.manual_seed(0)
    model, reference = Tied(), Reference()
    average, optimizer = WeightAverage(model), sgd(model)
    average.follow(optimizer)
    step = trainer(model, optimizer)
    for _ in range(12):
        step()
        reference.add(model)
    raw, offset = bits(model), model.offset.clone()
    batches = model.norm.num_batches_tracked.item()
    with average.in_place():
        check_close(model, reference.values)
        assert bits(model) != raw
        assert model.second.weight is model.first.weight
        assert torch.equal(model.offset, offset)
        assert model.norm.num_batches_tracked.item() == batches == 12
    assert bits(model) == raw


def test_the_raw_weights_are_back_behind_an_exception() -> None:
    model = Tied()
    average, optimizer = WeightAverage(model), sgd(model)
    average.follow(optimizer)
    step = trainer(model, optimizer)
    step()
    step()
    raw = bits(model)

    def interrupted() -> None:
        with average.in_place():
            assert bits(model) != raw
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert bits(model) == raw


def test_before_the_first_step_and_when_restarted_it_is_what_the_model_is() -> None:
    model = Tied()
    average, optimizer = WeightAverage(model), sgd(model)
    average.follow(optimizer)
    step, untouched = trainer(model, optimizer), bits(model)
    with average.in_place():
        assert bits(model) == untouched
    for _ in range(3):
        step()
    average.restart()
    raw = bits(model)
    with average.in_place():
        assert bits(model) == raw
    reference = Reference()
    for _ in range(3):
        step()
        reference.add(model)
    with average.in_place():
        check_close(model, reference.values)


def test_only_the_last_optimizer_is_followed() -> None:
    model = Tied()
    average, first, second = WeightAverage(model), sgd(model), sgd(model)
    average.follow(first)
    average.follow(second)
    trainer(model, first)()
    assert average.steps == 0
    trainer(model, second)()
    assert average.steps == 1
    average.follow(second)  # as where a plugin has one optimizer for all trials
    trainer(model, second)()
    assert average.steps == 2


def test_half_precision_is_averaged_in_single() -> None:
    """In half a precision a small share of a small difference would be rounded away."""
    model = nn.Linear(6, 6, bias=False).bfloat16()
    average, optimizer = WeightAverage(model), torch.optim.SGD(model.parameters(), lr=0.05)
    average.follow(optimizer)
    reference, step = Reference(), trainer(model, optimizer)
    for _ in range(200):
        step()
        reference.add(model)
    (kept,) = average.state_dict()["averages"].values()
    assert kept.dtype == torch.float32
    torch.testing.assert_close(kept.double(), reference.values["weight"], rtol=1e-5, atol=1e-6)
    raw = bits(model)
    with average.in_place():
        assert model.weight.dtype == torch.bfloat16
        assert torch.equal(model.weight, kept.bfloat16())
    assert bits(model) == raw


def test_it_follows_a_model_to_another_type() -> None:
    model = nn.Linear(6, 6)
    average, optimizer = WeightAverage(model), sgd(model)
    average.follow(optimizer)
    reference = Reference()
    for move in (model.float, model.bfloat16, model.double):
        move()
        optimizer.state.clear()
        trainer(model, optimizer)()
        reference.add(model)
    with average.in_place():
        check_close(model, reference.values)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_gradient_scaler_skips_does_not_count(fused: bool) -> None:
    model, reference = nn.Linear(6, 6), Reference()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    average, scaler = WeightAverage(model), torch.amp.GradScaler("cpu", init_scale=8.0)
    average.follow(optimizer)
    for number in range(5):
        overflows = number == 2
        optimizer.zero_grad()
        loss = model(torch.randn(4, 6)).square().mean() * (float("inf") if overflows else 1)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if not overflows:
            reference.add(model)
    assert average.steps == 4
    with average.in_place():
        check_close(model, reference.values)


def test_from_its_state_it_goes_on_to_the_bit() -> None:
    model = Tied()
    average, optimizer = WeightAverage(model), sgd(model)
    average.follow(optimizer)
    step = trainer(model, optimizer)
    for _ in range(4):
        step()
    state = copy.deepcopy(average.state_dict())
    other = copy.deepcopy(model)
    resumed, its = WeightAverage(other), sgd(other)
    its.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed.follow(its)
    resumed.load_state_dict(state)
    for trained, by in ((model, optimizer), (other, its)):
        torch.manual_seed(1)
        for _ in range(4):
            trainer(trained, by)()
    with average.in_place(), resumed.in_place():
        assert bits(model) == bits(other)
    with pytest.raises(ValueError, match="another model's"):
        WeightAverage(nn.Linear(6, 6)).load_state_dict(state)


# In a search -------------------------------------------------------------------------------------


class Watched:
    """A script's functions, which keep the plain average beside the one that they are judged by."""

    def __init__(self, wrap: Callable[[Any], Any] = lambda model: model, autocast: bool = False):
        self.reference = Reference()
        self.averaged = self.bare = 0
        self.seen: list[Tensor] = []
        self._wrap, self._autocast = wrap, autocast
        self._network: Any = None
        self._raw: dict[str, bytes] | None = None

    def search(self, config: AccAwareConfig, **functions: Any) -> tuple[Any, nn.Module]:
        self.model = trained_model()
        baseline = accuracy(self.model)
        images, classes = (part[:TRAINING_IMAGES] for part in digits())
        batches = list(zip(images.split(BATCH), classes.split(BATCH), strict=True))
        handed_over = self._wrap(self.model)
        controller, _ = create_compressed_model(handed_over, config, EXAMPLE, batches)
        self.controller = controller
        loop = create_accuracy_aware_training_loop(config, controller, baseline)
        loop.run(
            handed_over,
            **{
                "train_epoch_fn": self.train,
                "validate_fn": self.validate,
                "configure_optimizers_fn": self.configure,
                **functions,
            },
        )
        return loop, self.model

    def configure(self) -> torch.optim.Optimizer:
        self.reference.forget()
        self._raw = None
        return torch.optim.Adam(self.model.parameters(), lr=0.01)

    def train(
        self, controller: Any, model: nn.Module, *, epoch: int, optimizer: Any, lr_scheduler: Any
    ) -> float:
        self._look()
        if self._raw is not None:
            assert bits(self.model) == self._raw, "training goes on with other than raw weights"
        model.train()
        images, classes = (part[:TRAINING_IMAGES] for part in digits())
        loss = torch.zeros(())
        for batch in torch.randperm(len(images)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
                outputs = model(images[batch])
                loss = nn.functional.cross_entropy(outputs, classes[batch]) + controller.loss()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self.reference.add(self.model)
            controller.scheduler.step()
            self._look()
        self._raw = bits(self.model)
        return loss.item()

    def validate(self, model: nn.Module, epoch: int) -> float:
        self._look()
        if self.reference.values:
            self.averaged += 1
            assert bits(self.model) != self._raw
            check_close(self.model, self.reference.values)
            for name, mask in self._network[1].items():
                assert not self.model.get_parameter(name)[~mask].any()
        else:
            self.bare += 1
            assert self._raw is None or bits(self.model) == self._raw
        model.eval()
        with torch.no_grad():
            self.seen.append(model(digits()[0][TRAINING_IMAGES:]))
        return accuracy(model)

    def _look(self) -> None:
        """Where other channels or weights are kept, what was averaged is another network's."""
        state = self.controller.algorithm.state_dict()
        kept = state.get("kept", state.get("pruning", {}).get("kept", []))
        sparse = state.get("sparsity", state if "kept" not in state else {}).get("dense")
        masks = sparse.content["masks"] if sparse is not None else {}
        active = self.controller.quantization is not None and self.controller.quantization.active
        network = ([mask.clone() for mask in kept], {**masks}, active)
        if self._network is not None and not _same(network, self._network):
            self.reference.forget()
            self._raw = None
        self._network = network


def _same(one: Any, other: Any) -> bool:
    (kept, masks, active), (its, theirs, was) = one, other
    same_kept = all(map(torch.equal, kept, its))
    return same_kept and active == was and all(torch.equal(masks[x], theirs[x]) for x in masks)


RISING = {
    **PRUNING,
    "params": {**PRUNING["params"], "schedule": "exponential", "pruning_steps": 2},
}
PER_STEP = {**SPARSITY, "params": {**SPARSITY["params"], "update_per_optimizer_step": True}}
INT8 = {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 64}}}
TEACHER = {"algorithm": "knowledge_distillation", "type": "softmax"}
POLYNOMIAL: dict[str, Any] = {"weight_averaging": "polynomial"}
HARD = {**POLYNOMIAL, "maximal_absolute_accuracy_degradation": 0.0}


@pytest.mark.parametrize(
    ("config", "autocast"),
    [
        pytest.param(
            adaptive(RISING, initial_training_phase_epochs=3, **POLYNOMIAL), False, id="pruning"
        ),
        pytest.param(
            adaptive(PER_STEP, initial_training_phase_epochs=3, **POLYNOMIAL), False, id="sparsity"
        ),
        pytest.param(
            adaptive([RISING, INT8, TEACHER], initial_training_phase_epochs=3, **POLYNOMIAL), True,
            id="pruning-int8-distillation-autocast",
        ),
        pytest.param(
            early_exit([RISING, PER_STEP, INT8], maximal_total_epochs=4, **HARD), False,
            id="early_exit-all",
        ),
    ],
)  # fmt: skip
def test_what_is_validated_kept_and_handed_over_is_averaged(
    config: AccAwareConfig, autocast: bool, tmp_path: Path
) -> None:
    watched = Watched(autocast=autocast)
    dumped: dict[str, Tensor] = {}

    def dump(model: nn.Module, controller: Any, runner: Any, folder: str) -> str:
        path = f"{folder}/model.pt"
        save_compressed(model, controller.algorithm.kept_masks(), path)
        if watched.seen:  # else it is the untouched model
            dumped[path] = watched.seen[-1]
        return path

    loop, model = watched.search(
        config,
        dump_checkpoint_fn=dump,
        # What the runner has brought back is the model that the user was shown.
        load_checkpoint_fn=lambda model, path: None,
        log_dir=str(tmp_path),
    )
    result = loop.result
    assert watched.averaged > 2
    best = next(trial for trial in result.trials if trial.number == result.best.trial)
    assert result.best.metric == best.metric == accuracy(model)
    images = digits()[0][TRAINING_IMAGES:]
    handed_over = watched.seen[-1]
    assert any(torch.equal(handed_over, seen) for seen in watched.seen[:-1])
    kept = [path for path in dumped if Path(path).exists()]
    assert kept
    with torch.no_grad():
        assert torch.equal(model.eval()(images), handed_over)
        for path in kept:
            loaded = load_compressed(path, trained_model()).eval()
            assert torch.equal(loaded(images), dumped[path])


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")]
)
def test_a_wrapped_model_is_averaged_within(wrap: Callable[[Any], Any]) -> None:
    watched = Watched(wrap)
    loop, model = watched.search(
        adaptive(RISING, initial_training_phase_epochs=2, maximal_total_epochs=2, **POLYNOMIAL)
    )
    assert watched.averaged == 3  # after two epochs, and of what is handed over
    assert unwrapped(wrap(model)) is model
    assert loop.result.best.metric == accuracy(model)
    torch.compiler.reset()


def test_without_it_nothing_is_averaged() -> None:
    watched = Watched()
    with pytest.raises(AssertionError, match="bits"):
        watched.search(adaptive(initial_training_phase_epochs=1))


def test_an_exception_in_validation_leaves_the_raw_weights() -> None:
    watched = Watched()

    def fail(model: nn.Module, epoch: int) -> float:
        assert bits(watched.model) != watched._raw
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watched.search(adaptive(initial_training_phase_epochs=1, **POLYNOMIAL), validate_fn=fail)
    assert bits(watched.model) == watched._raw


def test_an_optimizer_that_is_never_stepped_is_told_once() -> None:
    """Whoever steps another one gets what that trained, and hears why it is no average."""
    watched = Watched()
    told: list[str] = []

    class Listener:
        def notify(self, event: Event) -> None:
            if isinstance(event, Warned):
                told.append(event.message)

    def train(controller: Any, model: nn.Module, *, optimizer: Any, **rest: Any) -> float:
        own = torch.optim.Adam(model.parameters(), lr=0.01)
        loss = watched.train(controller, model, optimizer=own, **rest)
        watched.reference.forget()
        return loss

    config = adaptive(**POLYNOMIAL)
    model = watched.model = trained_model()
    controller, _ = create_compressed_model(model, config, EXAMPLE)
    watched.controller = controller
    loop = create_accuracy_aware_training_loop(
        config, controller, accuracy(model), observers=[Listener()]
    )
    with pytest.warns(match="never stepped the optimizer"):
        loop.run(model, train, watched.validate, watched.configure)
    assert loop.result.epochs > 2
    assert watched.averaged == 0
    assert len(told) == 1
    assert "weight_averaging has no effect" in told[0]


def test_what_an_epoch_without_steps_trained_takes_the_place_of_the_average() -> None:
    watched = Watched()
    epochs: list[int] = []

    def train(
        controller: Any, model: nn.Module, *, epoch: int, optimizer: Any, lr_scheduler: Any
    ) -> float:
        epochs.append(epoch)
        if len(epochs) % 2:
            return watched.train(
                controller, model, epoch=epoch, optimizer=optimizer, lr_scheduler=lr_scheduler
            )
        with torch.no_grad():
            model.classifier.bias.add_(0.5)  # type: ignore[union-attr, operator]
        watched.reference.forget()
        watched._raw = bits(watched.model)
        return 0.0

    with pytest.warns(match="weight_averaging has no effect"):
        watched.search(
            adaptive(initial_training_phase_epochs=4, **POLYNOMIAL), train_epoch_fn=train
        )
    assert watched.averaged
    assert watched.bare


@pytest.mark.parametrize(
    "params",
    [
        AdaptiveParams(
            initial_training_phase_epochs=1, patience_epochs=1, weight_averaging="exponential"
        ),
        EarlyExitParams(maximal_total_epochs=1, weight_averaging="exponential"),
    ],
)
def test_an_unknown_kind_is_refused_in_python_too(params: Any) -> None:
    with pytest.raises(UsageError, match="weight_averaging must be none or polynomial"):
        params.check()
