"""The shipped configs, made small: what a run leaves, and that it is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accaware import AccAwareConfig
from accaware.pytorch import load_compressed
from accaware.pytorch.builtin.digits import Digits, DigitsResNet
from accaware.pytorch.data.loaders import make_loader
from accaware.pytorch.training.classification import validate
from tests.e2e.conftest import CONFIGS, SHORT, SMALL, Done, Run
from tests.report.page.reading import Page

pytestmark = pytest.mark.usefixtures("no_inference_runtimes")


def top1(model: nn.Module) -> float:
    _, data = Digits().create_datasets()
    device = torch.device("cpu")
    loader = make_loader(data, batch_size=64, num_workers=0, train=False, seed=0, device=device)
    return validate(model, loader)


def loaded(done: Done) -> nn.Module:
    return load_compressed(done.directory / "best" / "model.pt", DigitsResNet(8))


def saved_tensors(done: Done) -> dict[str, torch.Tensor]:
    content = torch.load(done.directory / "best" / "model.pt", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def test_it_ends_within_budget_and_says_so_in_json_alone(finished: Done) -> None:
    assert finished.code == 0, finished.err
    assert json.loads(finished.out) == finished.result
    assert finished.out == (finished.directory / "result.json").read_text()
    assert "WITHIN BUDGET" in finished.err
    assert str(finished.directory / "best" / "model.pt") in finished.err


def test_the_files_of_a_run(finished: Done) -> None:
    files = {
        str(path.relative_to(finished.directory))
        for path in finished.directory.rglob("*")
        if path.is_file()
    }
    named = {"config.json", "manifest.json", "result.json", "events.jsonl", "best/model.pt"}
    assert files == {*named, "report.html", ".lock"}


def test_the_page_of_a_run(finished: Done) -> None:
    page = Page(finished.directory / "report.html")
    assert "The run is finished" in page.sections["Verdict"]
    left = [cell.split(" of ") for cell in page.column("Layers", "filters kept") if cell != "-"]
    filters = finished.result["model"]["filters"]
    assert sum(int(kept) for kept, _ in left) == filters["compressed"] < filters["dense"]
    assert sum(int(dense) for _, dense in left) == filters["dense"]
    rates = page.column("Epochs", "learning rate")
    assert len(rates) == finished.result["epochs"]
    assert all(float(rate) > 0 for rate in rates)
    assert page.column("Layers", "layer")[0] == finished.result["layers"][0]["name"]


def test_the_result_has_the_keys_that_are_promised(finished: Done) -> None:
    result = finished.result
    assert set(result) == {
        "status", "stop_reason", "metric", "baseline", "minimal_tolerable", "best", "epochs",
        "seconds", "trials", "model", "layers", "quantizers", "latency",
        "exports", "required_confidence", "samples", "confirmation",
    }  # fmt: skip
    assert set(result["metric"]) == {"name", "higher_is_better"}
    assert set(result["best"]) == {
        "trial", "target_rate", "compression_rate", "metric", "absolute_degradation",
        "relative_degradation", "epoch", "standard_error",
    }  # fmt: skip
    for trial in result["trials"]:
        assert set(trial) == {
            "number", "phase", "target_rate", "compression_rate", "epochs", "metric",
            "within_budget", "reason", "standard_error", "lr_factor", "start",
        }  # fmt: skip
    assert {"parameters", "flops", "filters"} <= set(result["model"])
    for size in result["model"].values():
        assert set(size) == {"dense", "compressed"}


def test_the_result_is_true(finished: Done) -> None:
    result, best = finished.result, finished.result["best"]
    assert result["status"] == "within_budget"
    assert result["minimal_tolerable"] == pytest.approx(0.9 * result["baseline"])
    assert best["metric"] >= result["minimal_tolerable"]
    assert best["absolute_degradation"] == pytest.approx(result["baseline"] - best["metric"])
    assert best["relative_degradation"] == pytest.approx(
        100 * best["absolute_degradation"] / result["baseline"]
    )
    assert result["epochs"] == sum(trial["epochs"] for trial in result["trials"]) <= 6
    assert best["compression_rate"] == max(
        trial["compression_rate"] for trial in result["trials"] if trial["within_budget"]
    )

    dense, model = DigitsResNet(8), loaded(finished)
    sizes = result["model"]
    for network, which in ((dense, "dense"), (model, "compressed")):
        assert sizes["parameters"][which] == sum(p.numel() for p in network.parameters())
        convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
        assert sizes["filters"][which] == sum(len(part.weight) for part in convolutions)
    file = finished.directory / "best" / "model.pt"
    assert sizes["file_size"]["compressed"] == file.stat().st_size
    removed = 1 - sizes["filters"]["compressed"] / sizes["filters"]["dense"]
    assert best["compression_rate"] == pytest.approx(removed)


def test_the_saved_model_has_exactly_the_reported_metric(finished: Done) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert top1(loaded(finished)) == finished.result["best"]["metric"]
    torch.set_num_threads(threads)


def test_the_resolved_config_loads_again_to_the_same(finished: Done) -> None:
    file = finished.directory / "config.json"
    again = AccAwareConfig.from_json(file)
    assert again.to_dict() == json.loads(file.read_text())
    assert again.plugin_args == {"width": 8, "epochs": 3}
    assert again.optimizer.type == "Adam"


def test_every_line_of_the_journal_is_an_event(finished: Done) -> None:
    lines = (finished.directory / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert all({"time", "event"} <= set(event) for event in events)
    # What a resume needs stands between the events.
    needed = ("answer", "snapshot")
    kinds = [event["event"] for event in events if event["event"] not in needed]
    assert kinds[:2] == ["run_started", "search_started"]
    assert kinds[-1] == "search_finished"
    assert kinds.count("epoch_finished") == finished.result["epochs"]
    assert kinds.count("trial_finished") == len(finished.result["trials"])


def test_the_resolved_config_and_seed_give_the_same_result_and_the_same_bits(
    finished: Done, run: Run
) -> None:
    again = run(finished.directory / "config.json", (), "--quiet")
    assert again.repeatable == finished.repeatable
    tensors = saved_tensors(finished)
    assert saved_tensors(again).keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in saved_tensors(again).items())


def test_the_sparsity_config(run: Run) -> None:
    settings = (*SHORT, "compression.params.sparsity_target_epoch=2")
    done = run(CONFIGS / "digits_magnitude_sparsity.json", settings, "--quiet")
    assert done.code == 0, done.text
    best, sizes = done.result["best"], done.result["model"]
    model = loaded(done)
    layers = [part.weight for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    zeros = sum(int((weight == 0).sum()) for weight in layers)
    assert best["compression_rate"] == zeros / sum(weight.numel() for weight in layers) > 0
    assert sizes["parameters"]["compressed"] == sizes["parameters"]["dense"]
    assert sizes["nonzero_parameters"]["compressed"] < sizes["nonzero_parameters"]["dense"]
    assert top1(model) == best["metric"]


def test_the_early_exit_config(run: Run) -> None:
    settings = (
        *SMALL,
        "accuracy_aware_training.params.maximal_absolute_accuracy_degradation=8",
        "compression.params.pruning_steps=2",
    )
    done = run(CONFIGS / "digits_early_exit.json", settings, "--quiet")
    assert done.code == 0, done.text
    assert done.result["stop_reason"] == "within_budget"
    assert done.result["best"]["compression_rate"] == pytest.approx(0.5, abs=0.05)
    assert top1(loaded(done)) == done.result["best"]["metric"]


@pytest.mark.parametrize("name", ["digits_pruning_int8", "digits_sparsity_int8"])
def test_the_configs_with_int8(run: Run, name: str) -> None:
    params = "accuracy_aware_training.params"
    settings = (
        *SHORT,
        f"{params}.maximal_relative_accuracy_degradation=20",
        f"{params}.initial_training_phase_epochs=4",
        f"{params}.maximal_total_epochs=5",
    )
    done = run(CONFIGS / f"{name}.json", settings)
    assert done.code == 0, done.text
    best = done.result["best"]
    assert best["compression_rate"] > 0.4
    model = loaded(done)
    assert top1(model) == best["metric"]
    layers = [part for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    if "sparsity" in name:
        zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
        # As integers some more weights are zero.
        assert best["compression_rate"] <= zeros / sum(layer.weight.numel() for layer in layers)
    saved = saved_tensors(done)
    assert sum(tensor.dtype == torch.int8 for tensor in saved.values()) == len(layers)
    places = [quantizer["place"] for quantizer in done.result["quantizers"]]
    assert "classifier.weight" in places
    assert "stem.0 input" in places
    assert f"Quantized: {len(places)} tensors" in done.text


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_multiple": 4, "pruning_flops_target": 0.5},
        {"all_weights": True, "pruning_target": 0.4},
        {"all_weights": True, "channel_multiple": 4, "pruning_flops_target": 0.4},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_options_of_filter_pruning(
    run: Run, finished: Done, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = json.loads((finished.directory / "config.json").read_text())
    section, _ = config["compression"]
    if "pruning_flops_target" in changes:
        section["params"].pop("pruning_target", None)
    section["params"].update(changes)
    config["accuracy_aware_training"]["params"]["maximal_total_epochs"] = 4
    config["accuracy_aware_training"]["params"]["maximal_relative_accuracy_degradation"] = 100
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    done = run(file, (), "--quiet")
    assert done.code == 0, done.text
    model, sizes, best = loaded(done), done.result["model"], done.result["best"]
    assert top1(model) == best["metric"]
    if "pruning_flops_target" in changes:
        flops = 1 - sizes["flops"]["compressed"] / sizes["flops"]["dense"]
        assert best["compression_rate"] == pytest.approx(flops, abs=1e-6)
        assert best["compression_rate"] >= best["target_rate"]
    widths = [len(part.weight) for part in model.modules() if isinstance(part, nn.Conv2d)]
    if "channel_multiple" in changes:
        assert all(width % 4 == 0 for width in widths)
    assert sum(widths) < sum(
        len(part.weight) for part in DigitsResNet(8).modules() if isinstance(part, nn.Conv2d)
    )
