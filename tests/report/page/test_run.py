"""The page of one run says what its files say."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import accaware
from accaware.errors import UsageError
from accaware.results.benchmark import Benchmark, Throughput
from accaware.results.handed_over import HandedOver
from accaware.results.inspection import Inspection, Part, PartSensitivity, Sensitivity
from accaware.results.layers import LayerSizes
from accaware.results.sizes import Size
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal
from accaware.rundir.lock import locked
from accaware.search.loop import create_accuracy_aware_training_loop
from accaware.search.params import Confirmation
from accaware.search.trials.in_process import InProcessExecutor
from tests.report.page.conftest import Shown, write_run
from tests.report.page.reading import Page
from tests.rundir.test_result_document import EXPORTS, LATENCY, QUANTIZERS, SIZES
from tests.runners.base import Config
from tests.runners.benches import FakeBench, Training, several
from tests.runners.fake import adaptive, holds_up_to


def raising_above(rate: float, error: BaseException) -> Any:
    def train(controller: Any, model: Any, **_: Any) -> None:
        if model.rate > rate:
            raise error

    return train


def test_the_verdict_comes_first(shown: Shown) -> None:
    page = shown(holds_up_to(0.65))
    assert next(iter(page.sections)) == "Verdict"
    verdict = page.sections["Verdict"]
    assert "Within budget: rate 60.0 %, drop 0.0000 (0.0 %) of the 0.1000 allowed." in verdict
    assert "The run is finished after 3 trials, 5 epochs" in verdict
    rows = {name: cells for name, *cells in page.table("The dense model against")}
    assert rows["top1"] == ["1.0000", "1.0000", "limit 0.9000"]
    assert rows["parameters"] == ["100", "40", "2.5x smaller"]
    assert rows["compression rate"] == ["", "60.0 %", "asked for 60.0 %"]


def test_every_trial_is_a_mark_and_a_row(shown: Shown) -> None:
    page = shown(holds_up_to(0.65))
    trials = [(kind, tip) for kind, tip in page.tips if re.match(r"trial \d \(", tip)]
    assert [kind for kind, _ in trials] == ["good", "good best", "bad"]
    assert trials[1][1] == (
        "trial 1 (search): rate 60.0 %, top1 1.0000, drop 0.0000 (0.0 %); within budget"
    )
    assert page.column("Trials", "rate") == ["50.0 %", "60.0 %", "70.0 %"]
    assert page.column("Trials", "from") == ["dense", "trial 0", "trial 1"]
    assert page.column("Trials", "ended")[-1] == "beyond the limit by 0.9"


def test_epochs_share_an_axis_and_tell_what_ended_their_trial(shown: Shown) -> None:
    page = shown(holds_up_to(0.65), loss=lambda rate, age: rate + age)
    assert page.column("Epochs", "epoch") == ["1", "2", "3", "4", "5"]
    assert page.column("Epochs", "trial") == ["0", "1", "1", "2", "2"]
    assert page.column("Epochs", "ended the trial")[-1] == "beyond the limit by 0.9"
    metrics = [tip for _, tip in page.tips if re.match(r"trial \d, epoch \d+: top1", tip)]
    losses = [tip for _, tip in page.tips if re.match(r"trial \d, epoch \d+: loss", tip)]
    assert len(metrics) == len(losses) == 5
    assert metrics[0] == "trial 0, epoch 1: top1 1.0000; within budget"


def test_the_learning_rate_is_drawn_where_it_is_known(shown: Shown, tmp_path: Path) -> None:
    assert set(shown(holds_up_to(0.65)).column("Epochs", "learning rate")) == {"-"}
    journal = tmp_path / "run" / "events.jsonl"
    known = json.dumps({"event": "learning_rate_known", "value": 0.003})
    lines = [
        f"{line}\n{known}" if '"epoch_started"' in line else line
        for line in journal.read_text().splitlines()
    ]
    journal.write_text("\n".join(lines) + "\n")
    page = Page(accaware.write_report(tmp_path / "run"))
    assert page.column("Epochs", "learning rate") == ["0.003"] * 5
    assert sum("learning rate 0.003" in tip for _, tip in page.tips) == 5


def test_trials_side_by_side(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")

    def metric(rate: float, age: int) -> float:
        if rate < 0.2:
            return 1.0
        return 0.75 if rate < 0.35 else 0.6 + 0.06 * age

    with Journal(directory.events) as journal:
        bench = FakeBench(Training(metric))
        loop = create_accuracy_aware_training_loop(
            Config(several(2, maximal_compression_rate=0.5)),
            bench.controller,
            1.0,
            observers=[journal],
            executor=InProcessExecutor(bench, lambda: 0.0),
        )
        result = loop.drive(bench.runner)
    assert any(trial.cancelled for trial in result.trials)
    page = Page(accaware.write_report(directory.path))
    kinds = [kind for kind, tip in page.tips if re.match(r"trial \d+ \(search\)", tip)]
    assert "cancelled" in kinds
    numbers = list(map(int, page.column("Epochs", "epoch")))
    assert len(numbers) > len(set(numbers)) == max(numbers)
    # In the middle of a round two of them are at hand.
    lines = directory.events.read_text().splitlines()
    at_hand: set[int] = set()
    cut = len(lines)
    for end, content in enumerate(map(json.loads, lines), start=1):
        if content["event"] == "epoch_finished":
            at_hand.add(content["trial"])
        elif content["event"] == "trial_finished":
            at_hand.discard(content["trial"]["number"])
        if len(at_hand) == 2:
            cut = end
            break
    directory.events.write_text("\n".join(lines[:cut]) + "\n")
    page = Page(accaware.write_report(directory.path))
    assert page.column("Epochs", "ended the trial").count("not finished") == 2


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    params = adaptive(minimal_compression_rate_step=0.05, patience_epochs=450)
    model = HandedOver(sizes=SIZES, layers=LAYERS * 200)
    write_run(tmp_path / "run", lambda rate, age: 0.8 - rate, params, model)
    page = Page(accaware.write_report(tmp_path / "run"))
    epochs = page.sections["Verdict"]
    assert int(re.findall(r"(\d+) epochs", epochs)[0]) > 2000
    assert page.column("Epochs", "epoch")[-1] == re.findall(r"(\d+) epochs", epochs)[0]
    assert len(page.source) < 1_500_000


def test_a_collapse_is_drawn_at_the_edge(shown: Shown) -> None:
    page = shown(lambda rate, age: 1 - rate / 100 if rate < 0.65 else -50.0)
    kinds = [kind for kind, tip in page.tips if tip.startswith("trial 2 (")]
    assert kinds == ["bad clipped"]
    assert "1 trial beyond its edge" in page.source


def test_what_confirms_is_drawn_too(tmp_path: Path) -> None:
    write_run(
        tmp_path / "run",
        holds_up_to(0.65),
        adaptive(confirmation=Confirmation(), minimal_compression_rate_step=0.1),
        HandedOver(sizes=SIZES),
        confirmation=lambda rate, age: 0.75,
        confirmation_baseline=0.8,
    )
    page = Page(accaware.write_report(tmp_path / "run"))
    unseen = [(kind, tip) for kind, tip in page.tips if "on the data that confirm" in tip]
    assert [kind for kind, _ in unseen] == ["confirmation"]
    assert "confirmed, top1 0.7500, drop 0.0500 (6.3 %)" in unseen[0][1]
    assert ["top1, confirmation", "0.8000", "0.7500", "limit 0.7000"] in page.table("The dense")


@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), "interrupted"), (ZeroDivisionError("ours"), "failed")],
)
def test_a_run_that_was_cut_off(shown: Shown, error: BaseException, state: str) -> None:
    train = raising_above(0.55, error)
    page = shown(holds_up_to(1), train_epoch_fn=train)
    verdict = page.sections["Verdict"]
    assert "Within budget, so far: rate 50.0 %" in verdict
    assert f"The run is {state}" in verdict
    assert str(error) in verdict
    assert "accaware run --resume" in page.text


def test_a_run_that_goes_on(shown: Shown, tmp_path: Path) -> None:
    shown(holds_up_to(1), train_epoch_fn=raising_above(0.55, KeyboardInterrupt()))
    directory = RunDirectory.open(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    epoch = {"number": 2, "compression_rate": 0.6, "fully_compressed": True, "metric": 0.95}
    started = {"trial": 1, "epoch": epoch}
    lines = directory.events.read_text().splitlines()
    lines[-1] = json.dumps({"event": "epoch_finished", **started})  # it was "run_stopped"
    directory.events.write_text("\n".join(lines) + "\n")
    with locked(directory.path, directory.lock):
        page = Page(accaware.write_report(directory.path))
    assert "The run is running in trial 1" in page.sections["Verdict"]
    assert page.column("Epochs", "ended the trial") == ["within budget", "not finished"]
    assert "--resume" not in page.text


def test_nothing_has_happened_yet(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    page = Page(accaware.write_report(directory.path))
    assert "No trial has been judged yet." in page.sections["Verdict"]
    assert "No trial has finished yet." in page.sections["Trials"]
    assert "No epoch has finished yet." in page.sections["Epochs"]


def test_nothing_could_be_judged(shown: Shown) -> None:
    page = shown(lambda rate, age: math.nan)
    assert "Not within budget: no trial could be judged." in page.sections["Verdict"]


BENCHMARK = Benchmark(
    model="Net",
    latency=LATENCY,
    throughput=Throughput(dense=250, compressed=1000),
    file_size=Size(4100, 500),
    peak_memory=None,
    memory_of="process",
    convolutions=None,
)
INSPECTION = Inspection(
    model="Net",
    device="cpu",
    algorithm="filter_pruning",
    rate_of="filters",
    parameters=1000,
    flops=5000,
    forward_seconds=1e-3,
    maximal_rate=0.9,
    steps_per_epoch=None,
    layers=(),
    parts=(
        Part(
            number=1,
            name="conv1",
            layers=("conv1",),
            size=64,
            least=1,
            saved_parameters=0.1,
            saved_flops=0.1,
        ),
    ),
    left_out=(),
    training=(),
    sensitivity=Sensitivity(
        samples=10,
        baseline=0.95,
        shares=(0.1, 0.5),
        parts=(PartSensitivity(part=1, metrics=(0.9, math.nan)),),
    ),
)
LAYERS = (
    LayerSizes(
        name="conv",
        kind="Conv2d",
        filters=Size(64, 16),
        parameters=Size(640, 160),
        nonzero_parameters=Size(640, 40),
        flops=Size(20_000, 5000),
    ),
    LayerSizes(
        name="norm",
        kind="BatchNorm2d",
        filters=None,
        parameters=Size(128, 32),
        nonzero_parameters=Size(128, 32),
        flops=Size(0, 0),
    ),
)


def test_layers_and_what_became_of_the_model(tmp_path: Path) -> None:
    model = HandedOver(
        sizes=SIZES, layers=LAYERS, quantizers=QUANTIZERS, latency=LATENCY, exports=EXPORTS
    )
    params = adaptive(minimal_compression_rate_step=0.1)
    write_run(tmp_path / "run", holds_up_to(0.65), params, model)
    page = Page(accaware.write_report(tmp_path / "run"))
    assert page.column("Layers", "filters kept") == ["16 of 64", "-"]
    assert page.table("Layers")[1][4:8] == ["160", "640", "5000", "20 k"]
    assert page.column("Layers", "zeros") == ["75.0 %", "0.0 %"]
    assert page.column("Layers", "bits of the weight") == ["8", "-"]
    assert ("bar", "conv: 16 of 64 filters kept, 25.0 %") in page.tips
    assert ("bar", "conv: 120 of 160 parameters are zero, 75.0 %") in page.tips
    assert page.column("Quantizers", "from") == ["-1.5", "-"]
    assert page.column("Exported files", "format") == ["onnx, opset 21"]
    assert page.table("Timed in onnxruntime")[1][1:] == ["4 ms", "1 ms", "4.00x faster"]


def test_what_commands_found_out_about_it(shown: Shown, tmp_path: Path) -> None:
    shown(holds_up_to(0.65))
    (tmp_path / "run" / "benchmark.json").write_text(BENCHMARK.to_json())
    (tmp_path / "run" / "inspection.json").write_text(INSPECTION.to_json())
    page = Page(accaware.write_report(tmp_path / "run"))
    assert ["throughput", "250 /s", "1,000 /s", ""] in page.table("The same benchmark")
    assert page.table("Sensitivity by part") == [
        ["part", "10.0 % removed", "50.0 % removed"],
        ["conv1", "0.9", "-"],
    ]
    (tmp_path / "run" / "benchmark.json").write_text("[]")
    with pytest.raises(UsageError, match=r"benchmark\.json: can't be read"):
        accaware.write_report(tmp_path / "run")


def test_a_run_of_an_earlier_version(shown: Shown, tmp_path: Path) -> None:
    shown(holds_up_to(0.65))
    file = tmp_path / "run" / "result.json"
    content = json.loads(file.read_text())
    del content["layers"]
    file.write_text(json.dumps(content))
    page = Page(accaware.write_report(tmp_path / "run"))
    assert "An earlier accaware made this run" in page.sections["Layers"]


def test_layers_that_stay_whole(shown: Shown) -> None:
    page = shown(holds_up_to(0.65), left_out=[("head.fc", "its channels are the output")])
    assert page.table("Not compressed: 1 layer")[1:] == [["head.fc", "its channels are the output"]]


def test_what_is_in_files_is_never_markup(shown: Shown) -> None:
    evil = "<script>alert('1')</script>\"><img src=x onerror=y>&amp;"
    harmless = shown(holds_up_to(0.65), left_out=[("layer", "reason")])
    page = shown(holds_up_to(0.65), name=evil, left_out=[(evil, evil)], at="evil")
    assert page.tags == harmless.tags
    assert page.table("Not compressed")[1] == [evil, evil]
    assert page.table("The dense model against")[1][0] == evil
    assert any(evil in tip for _, tip in page.tips)


def test_it_needs_nothing_from_elsewhere(shown: Shown) -> None:
    page = shown(holds_up_to(0.65))
    assert page.addresses == []
    assert "default-src 'none'" in page.source
    assert not re.search(r"https?://|@import|url\(", page.source)
    assert len(page.source) < 100_000


def test_another_file(shown: Shown, tmp_path: Path) -> None:
    page = shown(holds_up_to(0.65))
    written = accaware.write_report(tmp_path / "run", output=tmp_path / "other.html")
    assert written.read_text() == page.source


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        accaware.write_report(tmp_path)
