"""What a trial of groups has to see before it proves anything: never a wrong model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.errors import CompressionError, MemoryShortageError
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.tensors import output_tensors
from tests.pytorch.channels.masked import Masked, dense_state
from tests.pytorch.channels.zoo import prune


class Net(nn.Module):
    """Three linear layers, 6 to 16 to 12 to 5, and a forward that is given them."""

    def __init__(self, forward: Callable[..., Any], **more: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 5)
        for name, module in more.items():
            setattr(self, name, module)
        self._forward = forward

    def forward(self, x: Tensor, **more: Any) -> Any:
        return self._forward(self, x, **more)

    def hidden(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x).relu())
        return result


def reasons(pruning: FilterPruning) -> dict[str, str]:
    return {entry.layer: entry.reason for entry in pruning.excluded}


def pruned(pruning: FilterPruning) -> set[str]:
    return {layer for group in pruning.groups for layer in group.producers}


def difference(dense: nn.Module, pruning: FilterPruning, model: nn.Module, x: Tensor) -> float:
    """Of the pruned model to the masked one in evaluation, on these inputs."""
    pruning.set_rate(0.4, [])
    state = dense_state(model, pruning.dense_tensors())
    masked = Masked(dense, state, pruning.kept_masks()).model
    with torch.no_grad():
        got, wanted = (output_tensors(each.eval()(x)) for each in (model, masked))
    assert [each.shape for each in got] == [each.shape for each in wanted]
    assert any(each.numel() and each.isfinite().all() for each in wanted)
    return max(
        float((mine - theirs).abs().max())
        for mine, theirs in zip(got, wanted, strict=True)
        if mine.numel()
    )


def pruned_rightly(model: nn.Module, x: Tensor) -> FilterPruning:
    model = model.double()
    dense = copy.deepcopy(model)
    pruning = prune(model, x)
    assert difference(dense, pruning, model, x) < 1e-10
    return pruning


@dataclass
class Answer:
    logits: Any
    note: str = "none"


class Plain:
    def __init__(self, logits: Tensor) -> None:
        self.parts = {"logits": [logits]}
        self.itself = self


class Slotted:
    __slots__ = ("empty", "logits")

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Named(NamedTuple):
    logits: Tensor
    count: int


def _one_by_one(logits: Tensor) -> Iterator[Tensor]:
    yield logits
    yield logits.sum()


@pytest.mark.parametrize(
    "wrap",
    [
        Answer,
        Plain,
        Slotted,
        lambda logits: Answer([Plain(logits), None]),
        lambda logits: Named(logits, 3),
        lambda logits: [Answer(row) for row in logits],
        _one_by_one,
        lambda logits: {"logits": logits.detach().numpy() if not logits.is_meta else logits},
    ],
)
def test_outputs_are_found_in_any_object(wrap: Callable[[Tensor], Any]) -> None:
    model = Net(lambda m, x: wrap(m.last(m.hidden(x).relu())))
    pruning = prune(model, torch.randn(2, 6))
    assert reasons(pruning) == {"last": "its channels are the model's output"}
    assert pruned(pruning) == {"first", "second"}


@pytest.mark.parametrize("answer", [lambda y: None, lambda y: "yes", lambda y: [object(), {}]])
def test_a_model_that_gives_no_tensor_is_refused(answer: Callable[[Tensor], Any]) -> None:
    model = Net(lambda m, x: answer(m.last(m.hidden(x))))
    with pytest.raises(CompressionError, match="gives no tensors"):
        prune(model, torch.randn(2, 6))


def mixed(y: Tensor) -> Tensor:
    """Each channel depends on all others, in a function that isn't traced."""
    return functional.local_response_norm(y[:, :, None], 5, alpha=10.0)[:, :, 0]


def mixed_second(m: Net, x: Tensor) -> Tensor:
    result: Tensor = m.last(mixed(m.hidden(x)))
    return result


@pytest.mark.parametrize(
    ("forward", "inputs"),
    [
        (lambda m, x: mixed_second(m, x.log()), torch.rand(3, 6) + 0.1),
        (lambda m, x: mixed_second(m, (x - 0.5).sqrt()), torch.rand(3, 6) + 0.6),
        (lambda m, x: mixed_second(m, 1 / x), torch.zeros(3, 6)),  # noise has none
        (lambda m, x: mixed_second(m, x)[(x > 0.2).all(1)], torch.rand(3, 6) + 0.3),
        (lambda m, x: mixed_second(m, x) if (x > 0).all() else x.sum(), torch.rand(3, 6)),
    ],
    ids=["log", "sqrt", "zeros", "found in bright rows", "branch on values"],
)
def test_what_noise_hides_the_users_inputs_show(
    forward: Callable[..., Any], inputs: Tensor
) -> None:
    model = Net(forward)
    pruning = prune(model, inputs)
    assert "mixed with them" in reasons(pruning)["second"]
    assert pruned(pruning) == {"first"}


def test_where_nothing_finite_comes_out_nothing_is_proven() -> None:
    model = Net(lambda m, x: m.last(m.hidden(x).relu()) + (-1 - x.square().sum()).log())
    with pytest.raises(CompressionError, match=r"can't be proven: .* empty or not finite"):
        prune(model, torch.rand(2, 6))


@pytest.mark.parametrize(
    "kill",
    [
        lambda y: (y - 1e6).relu(),
        lambda y: y * torch.zeros(1, dtype=y.dtype, device=y.device),
        lambda y: y.clamp(min=1e6) - 1e6,
    ],
    ids=["dead relu", "closed gate", "clamped"],
)
def test_channels_that_reach_no_output_are_not_proven(kill: Callable[[Tensor], Tensor]) -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        result: Tensor = m.last(m.hidden(x).relu()) + m.reader(kill(m.side(x)))
        return result

    model = Net(forward, side=nn.Linear(6, 10), reader=nn.Linear(10, 5))
    pruning = prune(model, torch.rand(2, 6))
    assert "side" not in pruned(pruning)
    assert pruned(pruning) == {"first", "second"}


def test_dead_channels_say_why_they_stay() -> None:
    model = Net(
        lambda m, x: m.last(m.hidden(x).relu()) + m.reader((m.side(x) - 1e6).relu()),
        side=nn.Linear(6, 10),
        reader=nn.Linear(10, 5),
    )
    why = reasons(prune(model, torch.rand(2, 6)))["side"]
    assert why == (
        "it can't be proven: nothing of its channels reaches the model's outputs in evaluation, "
        "neither on noise nor on the example inputs"
    )


@pytest.mark.parametrize(
    "decide",
    [
        lambda y: y.argmax(-1),
        lambda y: y.topk(2).indices,
        lambda y: {"label": y.argmax(-1).tolist()} if not y.is_meta else y.argmax(-1),
    ],
)
def test_whole_numbers_are_proven_by_what_they_were_made_from(
    decide: Callable[[Tensor], Any],
) -> None:
    right = prune(Net(lambda m, x: decide(m.last(m.hidden(x).relu()))), torch.randn(1, 6))
    assert pruned(right) == {"first", "second"}
    wrong = prune(Net(lambda m, x: decide(mixed_second(m, x))), torch.randn(1, 6))
    assert pruned(wrong) == {"first"}


def test_a_forward_without_gradients_is_proven_by_zeros() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = m.last(m.hidden(x).relu())
            return result

    assert pruned(pruned_rightly(Net(forward), torch.randn(2, 6).double())) == {"first", "second"}


@pytest.mark.parametrize("training", [True, False])
def test_what_only_one_mode_does_is_tried(training: bool) -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        y = m.hidden(x)
        result: Tensor = m.last(mixed(y) if m.training == training else y)
        return result

    pruning = prune(Net(forward), torch.randn(2, 6))
    assert pruned(pruning) == {"first"}
    assert set(reasons(pruning)) == {"second", "last"}


def test_each_mode_may_have_a_head_of_its_own() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        y = m.hidden(x).relu()
        result: Tensor = m.last(y) if m.training else m.deployed(y)
        return result

    model = Net(forward, deployed=nn.Linear(12, 5)).double()
    pruning = pruned_rightly(model, torch.randn(2, 6).double())
    assert pruned(pruning) == {"first", "second"}
    assert model.last.in_features == model.deployed.in_features < 12


def test_a_mode_that_needs_other_inputs_is_passed_over() -> None:
    def forward(m: Net, x: Tensor, targets: Tensor | None = None) -> Tensor:
        if m.training and targets is None:
            raise ValueError("targets, please")
        result: Tensor = m.last(m.hidden(x).relu())
        return result

    assert pruned(prune(Net(forward), torch.randn(2, 6))) == {"first", "second"}


def test_random_numbers_of_a_container_that_trains_hide_nothing() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        y = functional.dropout(m.hidden(x), 0.5, m.training)
        if m.training:
            y = y * (torch.rand_like(y) > 0.1)
        result: Tensor = m.last(y)
        return result

    assert pruned(prune(Net(forward), torch.randn(2, 6))) == {"first", "second"}


@pytest.mark.parametrize("kind", ["keyword", "flag"])
def test_channels_that_an_unreached_layer_may_read_stay(kind: str) -> None:
    def forward(m: Net, x: Tensor, more: bool = False) -> Tensor:
        y = m.hidden(x).relu()
        result: Tensor = m.last(y)
        return result + m.spare(y) if more or getattr(m, "flag", False) else result

    model = Net(forward, spare=nn.Sequential(nn.Linear(12, 5)))
    x = torch.randn(2, 6)
    pruning = prune(model, x)
    assert pruned(pruning) == {"first"}
    assert reasons(pruning)["second"].startswith("spare.0 may read its channels")
    assert "doesn't reach it" in reasons(pruning)["spare.0"]
    pruning.set_rate(0.5, [])
    if kind == "flag":
        model.flag = True
    assert model(x, **({"more": True} if kind == "keyword" else {})).shape == (2, 5)


@pytest.mark.parametrize(
    "spare",
    [
        nn.BatchNorm1d(16),
        nn.Conv1d(16, 4, 1),
        nn.LSTM(16, 5),
        nn.ParameterList([nn.Parameter(torch.ones(16))]),
    ],
    ids=lambda module: type(module).__name__,
)
def test_whatever_kind_it_is(spare: nn.Module) -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        y = m.first(x).relu()
        result: Tensor = m.last(m.second(y).relu())
        return result

    pruning = prune(Net(forward, spare=spare), torch.randn(2, 6))
    assert pruned(pruning) == {"second"}
    assert "may read its channels" in reasons(pruning)["first"]


def test_an_unreached_layer_elsewhere_binds_nothing() -> None:
    inner = Net(lambda m, x: m.last(m.hidden(x).relu()))
    model = Net(lambda m, x: m.inner(x), inner=inner, spare=nn.Linear(16, 4))
    pruning = prune(model, torch.randn(2, 6))
    assert pruned(pruning) == {"inner.first", "inner.second"}


def test_out_of_memory_is_an_error_of_its_own() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        y: Tensor = m.last(m.hidden(x).relu())
        if y.dtype == torch.float64:  # as in the trial alone
            torch.empty(2**60, dtype=torch.uint8)
        return y

    with pytest.raises(MemoryShortageError, match="smaller example inputs") as caught:
        prune(Net(forward), torch.randn(2, 6))
    assert "\n" not in str(caught.value)


def test_a_group_whose_fault_another_one_hides_is_tried_alone() -> None:
    """All that the mixed channels are read by goes with the reader's half."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixed, self.reader = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 5, 1)
            self.head = nn.Conv2d(5, 3, 1)
            with torch.no_grad():
                self.head.weight[:, 1:] = 0

        def forward(self, x: Tensor) -> Tensor:
            y = self.mixed(x).relu()
            result: Tensor = self.head(self.reader(y - y.mean(1)[:, None]))
            return result

    pruning = prune(Mixed(), torch.randn(1, 3, 4, 4))
    assert [group.name for group in pruning.groups] == ["reader"]
    reasons = {entry.layer: entry.reason for entry in pruning.excluded}
    assert "mixed with them" in reasons["mixed"]
