"""Learned ranking on real training: what it leaves, what it finds, and what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from accaware import AccAwareConfig
from accaware.errors import RunError, UsageError
from accaware.pytorch import PTCompressionController, RankingCallbacks, create_compressed_model
from accaware.pytorch.compression.pruning.evolution import Affine
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.search.events import Event, GenerationFinished, RankingStarted
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, adaptive
from tests.runners.torch_case import TinyNet, accuracy, digits, trained_model

LAYERS = ["features.0", "features.3"]


def learned(directory: Path = Path(), metric: dict[str, Any] | None = None, **params: Any) -> Any:
    """A config whose paths start at ``directory``; few candidates of few steps."""
    legr = {"generations": 6, "train_steps": 3, "max_pruning": 0.6, **params.pop("legr", {})}
    section = {
        **PRUNING,
        "params": {
            **PRUNING["params"],
            "interlayer_ranking_type": "learned_ranking",
            **params,
        },
    }
    if "load_ranking_coeffs_path" not in params:
        section["params"]["legr_params"] = legr
    data = {**adaptive(section).to_dict(), **({"metric": metric} if metric else {})}
    for key in ("save_ranking_coeffs_path", "load_ranking_coeffs_path"):
        if key in params:
            data["compression"][0]["params"][key] = str(directory / params[key])
    return AccAwareConfig.from_dict(data)


def train_steps(model: nn.Module, steps: int) -> None:
    """Random batches, so that the generators' state matters."""
    images, classes = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    model.train()
    for _ in range(steps):
        batch = torch.randint(1200, (64,))
        loss = nn.functional.cross_entropy(model(images[batch]), classes[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def callbacks(**changes: Any) -> RankingCallbacks:
    return RankingCallbacks(**{"train_steps_fn": train_steps, "validate_fn": accuracy, **changes})


def wanting_the_second(model: nn.Module) -> float:
    """A metric for which the plain ranking is not the best."""
    return accuracy(model) - len(model.features[0].weight)


def created(
    config: AccAwareConfig, ranking: RankingCallbacks | None
) -> tuple[PTCompressionController, TinyNet, FilterPruning]:
    model = trained_model()
    controller, _ = create_compressed_model(model, config, EXAMPLE, ranking_callbacks=ranking)
    assert isinstance(controller.algorithm, FilterPruning)
    return controller, model, controller.algorithm


def kept(pruning: FilterPruning, rate: float) -> list[list[bool]]:
    pruning.set_rate(rate)
    return [mask.tolist() for mask in pruning.compact.layout.kept]


def test_everything_is_as_before_to_the_bit_and_the_ranking_is_not_the_plain_one() -> None:
    before = {name: value.clone() for name, value in trained_model().state_dict().items()}
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    wanted = torch.rand(3).tolist(), random.random(), np.random.rand()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    _, model, pruning = created(learned(), callbacks(validate_fn=wanting_the_second))
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == wanted
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [module.training for module in model.modules()] == [
        module.training for module in trained_model().modules()
    ]
    assert pruning.coefficients is not None
    assert list(pruning.coefficients) == LAYERS
    assert pruning.coefficients["features.0"] != Affine()


def test_it_is_reproducible_and_follows_its_seed() -> None:
    found = [
        created(learned(legr={"random_seed": seed}), callbacks(validate_fn=wanting_the_second))[
            2
        ].coefficients
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "legr",
    [{"population_size": 2}, {"num_samples": 1}, {"mutate_percent": 1.0}, {"scale_sigma": 0.1}],
    ids=str,
)
def test_each_parameter_reaches_the_evolution(legr: dict[str, Any]) -> None:
    tried: list[list[float]] = []

    def validate(model: nn.Module) -> float:
        first, second = (model.features[i].weight.detach() for i in (0, 3))
        tried[-1].append(float(first.norm() - len(second)))
        return -abs(tried[-1][-1])

    for changes in ({}, legr):
        tried.append([])
        ranking = callbacks(train_steps_fn=lambda model, steps: None, validate_fn=validate)
        created(learned(legr={"generations": 30, **changes}), ranking)
    assert tried[0] != tried[1]


@pytest.mark.parametrize("key", ["pruning_target", "pruning_flops_target"])
def test_candidates_are_pruned_as_far_as_asked_in_the_targets_own_measure(key: str) -> None:
    seen: list[tuple[float, float]] = []

    def train(model: nn.Module, steps: int) -> None:
        assert steps == 3
        first, second = (part.weight for part in model.modules() if isinstance(part, nn.Conv2d))
        assert second.shape[1] == len(first)
        filters = 1 - (len(first) + len(second)) / (16 + 24)
        # Multiplications: positions of the output x weights; then the classifier's.
        dense = 16 * 16 * 9 + 16 * 24 * 16 * 9 + 240
        flops = 16 * first.numel() + 16 * second.numel() + 10 * len(second)
        seen.append((filters, 1 - flops / dense))

    config = learned()
    if key == "pruning_flops_target":
        data = config.to_dict()
        params = data["compression"][0]["params"]
        params[key] = params.pop("pruning_target")
        config = AccAwareConfig.from_dict(data)
    created(config, callbacks(train_steps_fn=train))
    measure = key == "pruning_flops_target"
    assert len(seen) > 1
    assert all(0.6 <= rates[measure] + 1e-9 < 0.66 for rates in seen)


def test_every_candidate_starts_from_the_same_weights_and_random_states() -> None:
    dense = trained_model().state_dict()
    drawn: set[tuple[float, ...]] = set()
    generator = torch.Generator().manual_seed(3)
    own = torch.utils.data.DataLoader([0, 1, 2], shuffle=True, generator=generator)

    class Part:
        """A data loader's generator, which only its owner knows of."""

        def state_dict(self) -> dict[str, Any]:
            return {"state": generator.get_state()}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            generator.set_state(state["state"])

    def train(model: nn.Module, steps: int) -> None:
        order = [float(batch) for batch in own]
        drawn.add((float(torch.rand(())), random.random(), float(np.random.rand()), *order))
        # Filters that are there are the dense ones, whichever they are.
        rows = {tuple(row.flatten().tolist()) for row in dense["features.0.weight"]}
        assert {tuple(row.flatten().tolist()) for row in model.features[0].weight.detach()} <= rows
        assert torch.equal(model.classifier.bias, dense["classifier.bias"])
        train_steps(model, steps)

    created(learned(), callbacks(train_steps_fn=train, parts=[Part()]))
    assert len(drawn) == 1


def test_a_candidate_that_prunes_like_an_earlier_one_is_not_trained_again() -> None:
    trained: list[int] = []
    events: list[Event] = []

    class Seen:
        def notify(self, event: Event) -> None:
            events.append(event)

    created(
        learned(legr={"generations": 40, "train_steps": 1, "max_pruning": 0.9}),
        callbacks(train_steps_fn=lambda model, steps: trained.append(steps), observers=[Seen()]),
    )
    assert events[0] == RankingStarted(40)
    assert [event.number for event in events[1:] if isinstance(event, GenerationFinished)] == [
        *range(1, 41)
    ]
    assert len(trained) < 40


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_best_metric_wins_in_its_direction(higher_is_better: bool) -> None:
    found: list[GenerationFinished] = []

    class Seen:
        def notify(self, event: Event) -> None:
            if isinstance(event, GenerationFinished):
                found.append(event)

    metric = {"name": "kept", "higher_is_better": higher_is_better}
    wide = callbacks(
        train_steps_fn=lambda model, steps: None,
        # How much is left of the first layer: a ranking can be told to keep it, or not to.
        validate_fn=lambda model: float(len(model.features[0].weight)),
        observers=[Seen()],
    )
    _, model, pruning = created(learned(metric=metric, legr={"generations": 12}), wide)
    pruning.set_rate(0.6)
    metrics = [event.metric for event in found]
    best = max(metrics) if higher_is_better else min(metrics)
    assert len(model.features[0].weight) == best == found[-1].best
    assert len(set(metrics)) > 1


def test_the_coefficients_say_which_layers_keep_their_filters(tmp_path: Path) -> None:
    def layout(first: dict[str, float], second: dict[str, float]) -> list[list[bool]]:
        content = {
            "format": "accaware.ranking_coefficients",
            "version": 1,
            "filter_importance": "L2",
            "layers": dict(zip(LAYERS, (first, second), strict=True)),
        }
        (tmp_path / "ranking.json").write_text(json.dumps(content))
        config = learned(tmp_path, load_ranking_coeffs_path="ranking.json")
        return kept(created(config, None)[2], 0.4)

    plain = {"scale": 1, "shift": 0}
    across = {**PRUNING, "params": {**PRUNING["params"], "all_weights": True}}
    controller, _ = create_compressed_model(trained_model(), adaptive(across), EXAMPLE)
    assert isinstance(controller.algorithm, FilterPruning)
    assert layout(plain, plain) == kept(controller.algorithm, 0.4)
    assert layout(plain, {"scale": 1, "shift": 100})[0].count(True) == 1
    first, second = layout({"scale": 1000, "shift": 0}, plain)
    assert (first.count(True), second.count(True)) == (16, 8)
    assert layout(plain, {"scale": 3, "shift": 2}) == layout(
        {"scale": 1 / 3, "shift": -2 / 3}, {"scale": 1, "shift": 0}
    )


def test_what_is_saved_and_loaded_again_ranks_alike(tmp_path: Path) -> None:
    config = learned(tmp_path, save_ranking_coeffs_path="ranking.json")
    _, _, pruning = created(config, callbacks())
    again = learned(tmp_path, load_ranking_coeffs_path="ranking.json")
    _, _, loaded = created(again, None)
    assert loaded.coefficients == pruning.coefficients
    for rate in (0.2, 0.5, 0.8):
        assert kept(loaded, rate) == kept(pruning, rate)
    assert [path.name for path in tmp_path.iterdir()] == ["ranking.json"]
    # It may be replaced by another one of its kind.
    created(config, callbacks())


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], str]:
    def edit(content: dict[str, Any]) -> str:
        change(content)
        return json.dumps(content)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            _edited(lambda c: c["layers"].pop("features.3")),
            "no coefficients for the layer features.3",
        ),
        (_edited(lambda c: c["layers"].update(fc={})), "the model has no layer fc that can lose"),
        (
            _edited(lambda c: c["layers"].update({"features.0": {"scale": 0, "shift": 1}})),
            "the layer features.0 needs a scale above 0 and a shift",
        ),
        (
            _edited(lambda c: c["layers"].update({"features.0": {"scale": 1, "shift": True}})),
            "the layer features.0 needs a scale above 0 and a shift",
        ),
        (
            _edited(lambda c: c["layers"].update({"features.0": {"scale": 10**400, "shift": 1}})),
            "the layer features.0 needs a scale above 0 and a shift",
        ),
        (
            _edited(
                lambda c: c["layers"].update({"features.0": {"scale": 1, "shift": float("nan")}})
            ),
            "the layer features.0 needs a scale above 0 and a shift",
        ),
        (_edited(lambda c: c.update(layers=[1])), "no coefficients for the layer features.0"),
        (_edited(lambda c: c.update(filter_importance="L1")), "are for filter_importance L1, but"),
        (_edited(lambda c: c.update(version=2)), "format version 2; this accaware reads up to 1"),
        (lambda content: json.dumps(content["layers"]), "holds no ranking coefficients"),
        (lambda content: "{", "is not JSON"),
        (lambda content: "[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_does_not_fit_is_told(
    tmp_path: Path, edit: Callable[[dict[str, Any]], str], message: str
) -> None:
    content = {
        "format": "accaware.ranking_coefficients",
        "version": 1,
        "filter_importance": "L2",
        "layers": {layer: {"scale": 1.0, "shift": 0.0} for layer in LAYERS},
    }
    file = tmp_path / "ranking.json"
    file.write_text(edit(content))
    with pytest.raises(UsageError, match=message) as caught:
        created(learned(tmp_path, load_ranking_coeffs_path="ranking.json"), None)
    assert str(file) in str(caught.value)


def test_what_would_fail_in_the_end_fails_before_anything_is_trained(tmp_path: Path) -> None:
    never = callbacks(train_steps_fn=lambda model, steps: pytest.fail("it was trained"))
    (tmp_path / "model.pt").write_bytes(b"PK")
    (tmp_path / "config.json").write_text("{}")
    for path, message in {
        "sub/ranking.json": "there is no folder",
        "model.pt": "won't be replaced",
        "config.json": "won't be replaced",
        ".": "won't be replaced",
    }.items():
        with pytest.raises(UsageError, match=message):
            created(learned(tmp_path, save_ranking_coeffs_path=path), never)
    assert (tmp_path / "config.json").read_text() == "{}"
    with pytest.raises(UsageError, match=r"max_pruning 0\.99 is above the highest rate .* 0\.95"):
        created(learned(legr={"max_pruning": 0.99}), never)
    with pytest.raises(UsageError, match="pass ranking_callbacks to create_compressed_model"):
        created(learned(), None)
    with pytest.raises(UsageError, match="can't be read: No such file"):
        created(learned(tmp_path, load_ranking_coeffs_path="none.json"), never)


def test_a_training_that_fails_leaves_the_model_whole() -> None:
    def train(model: nn.Module, steps: int) -> None:
        train_steps(model, steps)
        raise ArithmeticError

    model = trained_model()
    with pytest.raises(ArithmeticError):
        create_compressed_model(
            model, learned(), EXAMPLE, ranking_callbacks=callbacks(train_steps_fn=train)
        )
    for name, value in trained_model().state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_no_metric_that_is_a_number_is_an_error() -> None:
    with pytest.raises(RunError, match="the metric was nan for all 6 candidates"):
        created(learned(), callbacks(validate_fn=lambda model: float("nan")))
