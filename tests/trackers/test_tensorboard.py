"""TensorBoard's files, read by TensorBoard."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from accaware.rundir.journal_reader import SNAPSHOT, read_journal
from tests.trackers.conftest import PARAMS, AtEpoch, Tracked, interrupt

Curves = dict[str, dict[str, list[tuple[int, Any]]]]
"""By run and tag: steps and what is there, in the order of the files."""


def curves(folder: Path) -> Curves:
    """All that TensorBoard finds there, but for when it was written."""
    found: Curves = {}
    for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        events = EventAccumulator(str(place), size_guidance={"tensors": 0})
        events.Reload()
        tags = events.Tags()["tensors"]
        found[place.name] = {
            tag: [(event.step, _content(event.tensor_proto)) for event in events.Tensors(tag)]
            for tag in tags
        }
    return found


def _content(tensor: Any) -> Any:
    return [*tensor.float_val, *tensor.double_val, *tensor.string_val, tensor.tensor_content]


def numbers(found: Curves, run: str, tag: str) -> dict[int, float]:
    points = found[run][tag]
    assert len(points) == len(dict(points)), f"{run} {tag} has a step twice"
    return {step: value[0] for step, value in points}


def settled(found: Curves) -> Curves:
    """Without what differs in another run of the same: times, and what takes them."""
    return {
        run: {
            tag: sorted(points)
            for tag, points in tags.items()
            if not tag.startswith("_hparams_") and tag != "result/seconds"
        }
        for run, tags in found.items()
    }


def test_what_a_run_was_is_there_by_epoch_and_by_trial(tmp_path: Path) -> None:
    run = Tracked(tmp_path / "run", ["tensorboard"])
    result = run.go()
    assert result is not None
    assert run.warned == []
    found = curves(tmp_path / "run" / "tensorboard")

    epochs = {epoch.number: epoch for trial in result.trials for epoch in trial.epochs}
    for tag, name in (
        ("train/loss", "loss"),
        ("validation/metric", "metric"),
        ("compression/rate", "compression_rate"),
    ):
        told = {number: getattr(epoch, name) for number, epoch in epochs.items()}
        assert numbers(found, "tensorboard", tag) == pytest.approx(told)
        for trial in result.trials:
            own = {epoch.number: getattr(epoch, name) for epoch in trial.epochs}
            assert numbers(found, f"trial-{trial.number:03}", tag) == pytest.approx(own)
    rates = {trial.number: trial.compression_rate for trial in result.trials}
    assert numbers(found, "tensorboard", "search/compression_rate") == pytest.approx(rates)

    # A dot for each trial at its rate, the dense model at 0, and the budget's line.
    limit = result.search.budget.minimal_tolerable
    assert numbers(found, "tensorboard", "metric_against_rate") == {0: result.baseline}
    expected = {0: limit, 10_000: limit}
    assert numbers(found, "limit", "metric_against_rate") == pytest.approx(expected)
    for trial in result.trials:
        dot = {round(10_000 * trial.compression_rate): trial.metric}
        there = numbers(found, f"trial-{trial.number:03}", "metric_against_rate")
        assert there == pytest.approx(dot)

    assert result.best is not None
    assert result.model is not None
    for name, value in (
        ("metric", result.best.metric),
        ("parameters", result.model.sizes.parameters.compressed),
        ("parameters_dense", result.model.sizes.parameters.dense),
    ):
        at_the_end = {result.epochs: value}
        assert numbers(found, "tensorboard", f"result/{name}") == pytest.approx(at_the_end)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    run = Tracked(tmp_path_factory.mktemp("peace") / "run", ["tensorboard"])
    run.go()
    return settled(curves(run.path / "tensorboard"))


def test_a_run_that_goes_on_has_no_point_twice_and_none_too_few(
    tmp_path: Path, at_once: None, undisturbed: Curves
) -> None:
    run = Tracked(tmp_path / "run", ["tensorboard"])
    for _ in range(2):
        # By Ctrl-C, and by a kill.
        assert run.go(AtEpoch(epoch_2=interrupt)) is None
        assert run.go(AtEpoch(epoch_4=interrupt), exits=False) is None
    assert run.go() is not None
    assert settled(curves(run.path / "tensorboard")) == undisturbed
    # Of a run that has ended there is nothing to send.
    before = {path: path.read_bytes() for path in run.path.glob("tensorboard/**/*tfevents*")}
    run.tracking().send_ended()
    assert before == {
        path: path.read_bytes() for path in run.path.glob("tensorboard/**/*tfevents*")
    }
    assert run.warned == []


@pytest.mark.parametrize("lost", [1, 5, 60, 400, 1500])
def test_a_kill_at_any_moment_leaves_nothing_twice(
    tmp_path: Path, at_once: None, undisturbed: Curves, lost: int
) -> None:
    """The files end anywhere, in the midst of a record too; and so may the journal, before them."""
    run = Tracked(tmp_path / "run", ["tensorboard"])
    run.go(AtEpoch(epoch_4=interrupt), exits=False)
    journal = run.path / "events.jsonl"
    shutil.copy(journal, tmp_path / "whole")

    for file in run.path.glob("tensorboard/**/*tfevents*"):
        content = file.read_bytes()
        file.write_bytes(content[: max(len(content) - lost, 0)])
    run.go(AtEpoch(epoch_4=interrupt), exits=False)  # the trackers lack what the journal has

    marks = [line.end for line in read_journal(tmp_path / "whole") if line.event == SNAPSHOT]
    journal.write_bytes((tmp_path / "whole").read_bytes()[: marks[-2]])
    run.go()  # they have what it lacks
    assert settled(curves(run.path / "tensorboard")) == undisturbed
    assert run.warned == []


def test_a_full_disk_warns_once_and_costs_nothing_but_the_points(
    tmp_path: Path, at_once: None, undisturbed: Curves
) -> None:
    run = Tracked(tmp_path / "run", ["tensorboard"])
    blocked = tmp_path / "run" / "tensorboard"

    def block() -> None:
        shutil.rmtree(blocked)
        blocked.write_text("not a folder")

    # The file that is open can be written still; a new trial's can't.
    result = run.go(AtEpoch(epoch_1=block), AtEpoch(epoch_4=blocked.unlink))
    assert result is not None
    assert result.within_budget
    assert len(run.warned) == 1
    assert run.warned[0].startswith("tensorboard: ")
    assert "the run goes on" in run.warned[0]
    assert settled(curves(blocked)) == undisturbed


@pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")
def test_its_server_shows_curves_histograms_and_hyperparameters(tmp_path: Path) -> None:
    """Over loopback, once."""
    from tensorboard import default, program

    result = Tracked(tmp_path / "one" / "run", ["tensorboard"]).go()
    Tracked(tmp_path / "other" / "second", ["tensorboard"], params=PARAMS).go()
    assert result is not None
    server = program.TensorBoard(default.get_plugins())
    options = ("--logdir", str(tmp_path), "--port", "0", "--host", "127.0.0.1")
    server.configure(argv=[None, *options, "--load_fast", "false", "--reload_interval", "0"])
    url = server.launch()

    def asked(path: str, content: Any = None, **query: str) -> Any:
        data = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{url}data/{path}?{urllib.parse.urlencode(query)}", data, headers
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    place = "one/run/tensorboard"
    wanted = {
        place,
        f"{place}/limit",
        *(f"{place}/trial-{each.number:03}" for each in result.trials),
    }
    while not wanted <= set(asked("runs")):
        pass
    curve = asked("plugin/scalars/scalars", run=place, tag="validation/metric")
    assert [step for _, step, _ in curve] == list(range(1, result.epochs + 1))
    groups = asked(
        "plugin/hparams/session_groups",
        {
            "experimentName": "",
            "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
            "colParams": [{"hparam": "target_rate"}],
            "startIndex": 0,
            "sliceSize": 100,
        },
    )["sessionGroups"]
    asked_for = defaultdict(list)
    for group in groups:
        (session,) = group["sessions"]
        asked_for[session["name"].split("/")[0]].append(group["hparams"]["target_rate"])
    targets = sorted(trial.target_rate for trial in result.trials)
    assert sorted(asked_for["one"]) == sorted(asked_for["other"]) == pytest.approx(targets)
