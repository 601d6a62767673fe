"""``accaware.run`` and what can be asked of its run: the same as the command, as data."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

import accaware
from accaware import AccAwareConfig, Observer
from accaware.errors import AccAwareWarning, ConfigError, PluginFailure, UsageError
from accaware.events import EpochFinished, Event, TrialFinished
from accaware.pytorch import load_compressed
from tests.resume.tiny_plugin import Tiny

SPEC = "tests.resume.tiny_plugin:Tiny"
NAME = "<object of tests.resume.tiny_plugin.Tiny>"


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Raising:
    """An observer that raises in an epoch."""

    def __init__(self, epoch: int, error: BaseException) -> None:
        self.epoch = epoch
        self.error = error

    def notify(self, event: Event) -> None:
        if isinstance(event, EpochFinished) and event.epoch.number == self.epoch:
            raise self.error


class Blocking:
    """An observer that takes the place where the page would be written."""

    def __init__(self, page: Path) -> None:
        self.page = page

    def notify(self, event: Event) -> None:
        self.page.mkdir(exist_ok=True)


def text(directory: str) -> str:
    return Path(directory, "result.json").read_text()


# What comes back -----------------------------------------------------------------------------


def test_a_run_and_all_that_can_be_asked_of_it(
    config: AccAwareConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = Seen()
    result = accaware.run(config, output_dir="run", plugin=SPEC, observers=[seen])
    assert result.within_budget
    assert result.to_json() == text("run")
    assert result.best is not None
    assert result.best.compression_rate == json.loads(text("run"))["best"]["compression_rate"] > 0
    assert [event.epoch.number for event in seen.of(EpochFinished)] == [0, 1, 2]
    assert seen.of(TrialFinished)[0].trial == result.trials[0]
    assert result.model_path is not None
    loaded = load_compressed(result.model_path, Tiny().create_model())
    assert result.model is not None
    assert isinstance(loaded[0], nn.Conv2d)
    assert 0 < loaded[0].out_channels < 12

    status = accaware.status("run")
    assert status.state.value == "finished"
    assert json.loads(status.to_json())["best"]["number"] == result.best.trial
    again = accaware.resume("run")
    assert again.to_json() == result.to_json()
    exported = accaware.export("run", format="state-dict", path="model.pt")
    assert (exported.file, exported.metric) == ("model.pt", exported.model_metric)
    timed = accaware.benchmark("run", runtime="pytorch")
    assert timed.latency.batch == 1
    with pytest.raises(UsageError, match=r"run: holds a run already; .* another output_dir"):
        accaware.run(config, output_dir="run", plugin=SPEC)
    assert capfd.readouterr() == ("", "")


def test_a_run_leaves_a_page_however_it_ends(config: AccAwareConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        accaware.run(
            config, output_dir="run", plugin=SPEC, observers=[Raising(1, KeyboardInterrupt())]
        )
    page = Path("run", "report.html")
    assert "The run is interrupted" in page.read_text()
    # Whether there is a page is no change that keeps a run from going on; nor is it the result's.
    page.unlink()
    accaware.resume("run", overrides={"report": False})
    assert not page.exists()
    # As where it was killed before it came to that.
    accaware.resume("run", overrides={"report": True})
    assert "The run is finished" in page.read_text()
    with pytest.warns(AccAwareWarning, match=r"report.html could not be written"):
        result = accaware.run(
            config,
            output_dir="other",
            plugin=SPEC,
            observers=[Blocking(Path("other", "report.html"))],
        )
    assert result.model_path is not None


def test_inspect_writes_nothing(config: AccAwareConfig, capfd: pytest.CaptureFixture[str]) -> None:
    found = accaware.inspect(config, plugin=Tiny(), samples=48)
    assert found.model == "Sequential"
    assert [part.name for part in found.parts] == ["0"]
    assert found.sensitivity is not None
    assert json.loads(found.to_json())["rate_of"] == "filters"
    assert list(Path().iterdir()) == []
    assert capfd.readouterr() == ("", "")
    with pytest.raises(UsageError, match="samples=0 is below the minimum 1"):
        accaware.inspect(config, plugin=Tiny(), samples=0)


def test_progress_is_drawn_on_standard_error_where_it_is_asked_for(
    config: AccAwareConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    accaware.run(config, output_dir="run", plugin=SPEC, progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "Run directory: run"
    assert "WITHIN BUDGET" in lines
    assert lines[-1] == f"Model: {Path('run', 'best', 'model.pt')}"


# The config and its changes -------------------------------------------------------------------


def test_a_file_a_dict_and_overrides(config: AccAwareConfig) -> None:
    data = config.to_dict()
    Path("mine.json").write_text(json.dumps(data))
    changes = {
        "accuracy_aware_training.params.maximal_total_epochs": 1,
        "compression.params.pruning_steps": 1,
    }
    by_file = accaware.run("mine.json", plugin=SPEC, overrides={**changes, "seed": 4})
    assert by_file.directory == Path("runs/mine-1")
    by_dict = accaware.run(data, plugin=SPEC, overrides=["seed=3", *_options(changes)], seed=4)
    assert by_dict.directory == Path("runs/run-1")
    assert by_file.best == by_dict.best
    one, other = (
        json.loads((each.directory / "config.json").read_text()) for each in (by_file, by_dict)
    )
    assert one == other
    assert one["seed"] == 4


def _options(changes: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in changes.items()]


def test_what_is_wrong_is_raised_and_nothing_is_left(config: AccAwareConfig) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        accaware.run(config, plugin=SPEC, overrides={"batch_size": 0})
    with pytest.raises(UsageError, match=r"there is no plugin: .* name one with plugin=;"):
        accaware.run(config)
    with pytest.raises(UsageError, match=r"overrides: metric: \{1\} is no JSON value"):
        accaware.run(config, plugin=SPEC, overrides={"metric": {1}})
    with pytest.raises(UsageError, match="observers: 3 has no method notify"):
        accaware.run(config, plugin=SPEC, observers=[3])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="device 'cuda:99' is not available to torch here"):
        accaware.run(config, plugin=SPEC, device="cuda:99")
    with pytest.raises(UsageError, match="nowhere: holds no run"):
        accaware.status("nowhere")
    assert list(Path("runs").iterdir() if Path("runs").exists() else []) == []


def test_a_config_made_in_python_is_checked_as_a_file_is(config: AccAwareConfig) -> None:
    from accaware.config import FilterPruningConfig, Metric

    with pytest.raises(ConfigError) as raised:
        AccAwareConfig(
            accuracy_aware_training=config.accuracy_aware_training,
            compression=(FilterPruningConfig(pruning_init=2.0),),
            metric=Metric(name=""),
        )
    paths = {diagnostic.path for diagnostic in raised.value.diagnostics}
    assert paths == {"compression[0].pruning_init", "metric.name"}


def test_what_the_config_warns_of_is_a_warning_at_the_callers_line(
    config: AccAwareConfig,
) -> None:
    from accaware.config import ConfigWarning

    data = {**config.to_dict(), "target_device": "CPU"}
    with pytest.warns(ConfigWarning, match="target_device") as warned:
        accaware.inspect(data, plugin=Tiny)
    assert warned[0].filename == __file__


# The plugin -----------------------------------------------------------------------------------


def module() -> ModuleType:
    """A plugin's module, as one that was imported."""
    made = ModuleType("handed_over")
    tiny = Tiny()
    for name in ("create_model", "create_datasets"):
        setattr(made, name, getattr(tiny, name))
    return made


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Tiny, NAME),
        (lambda: Tiny, "<class tests.resume.tiny_plugin.Tiny>"),
        (module, "<module handed_over>"),
    ],
    ids=["object", "class", "module"],
)
def test_a_plugin_that_is_handed_over_is_asked_for_again(
    config: AccAwareConfig, make: Callable[[], Any], name: str
) -> None:
    interrupted = Raising(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt) as raised:
        accaware.run(config, output_dir="run", plugin=make(), observers=[interrupted])
    assert raised.value.__notes__ == ["in trial 0", "to go on: accaware.resume('run')"]
    assert json.loads(text("run"))["stop_reason"] == "interrupted"
    assert json.loads(Path("run/manifest.json").read_text())["plugin"] == name
    for function, ask in (
        ("resume", accaware.resume),
        ("export", accaware.export),
        ("benchmark", accaware.benchmark),
    ):
        with pytest.raises(UsageError) as refused:
            ask("run")
        assert str(refused.value) == (
            f"run: the run's plugin is {name}, handed over in Python: hand it over again, "
            f"accaware.{function}('run', plugin=...)"
        )
    assert accaware.status("run").can_resume
    seen = Seen()
    result = accaware.resume("run", plugin=make(), observers=[seen])
    assert (result.within_budget, result.epochs) == (True, 2)
    # It is led to where it was, and observers with it.
    assert [event.epoch.number for event in seen.of(EpochFinished)] == [0, 1, 2]
    assert accaware.resume("run").to_json() == result.to_json()


def test_another_plugin_is_refused_and_the_hint_is_pythons(config: AccAwareConfig) -> None:
    class Other(Tiny):
        pass

    interrupted = Raising(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        accaware.run(config, output_dir="run", plugin=Tiny(), observers=[interrupted])
    with pytest.raises(UsageError) as raised:
        accaware.resume("run", plugin=Other())
    assert "the plugin's source (SHA-256): " in str(raised.value)
    assert str(raised.value).endswith("undo that, or go on all the same with force=True")
    with pytest.warns(AccAwareWarning, match="changed: the plugin's source"):
        assert accaware.resume("run", plugin=Other(), force=True).within_budget


def test_what_a_plugin_must_offer(config: AccAwareConfig) -> None:
    with pytest.raises(UsageError, match=r"plugin <object of builtins.object> doesn't offer"):
        accaware.run(config, plugin=object())
    with pytest.raises(UsageError, match="plugin_args are given, but an object that is made"):
        accaware.run(config, plugin=Tiny(), overrides={"plugin_args": {"loss": 1.0}})
    with pytest.raises(PluginFailure, match="Broken raised ValueError: the user's own"):
        accaware.run(config, plugin=Broken)


class Broken(Tiny):
    def __init__(self) -> None:
        raise ValueError("the user's own")


# Observers, threads ---------------------------------------------------------------------------


def test_one_line_begins_goes_on_and_has_nothing_left_to_do(
    config: AccAwareConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    def attempt(**arguments: Any) -> accaware.RunResult:
        return accaware.run(config, plugin=SPEC, output_dir="job", auto_resume=True, **arguments)

    with pytest.raises(PluginFailure):
        attempt(observers=[Raising(1, ValueError("preempted"))])
    seen = Seen()
    result = attempt(observers=[seen])
    assert [event.epoch.number for event in seen.of(EpochFinished)] == [0, 1, 2]
    before = Path("job", "events.jsonl").read_text()
    assert before.count('"run_resumed"') == 1
    again = attempt(progress=True)
    assert again.to_json() == result.to_json() == text("job")
    assert "The run in job had finished before" in capfd.readouterr().err
    with pytest.raises(UsageError, match="holds a run of another config:\n  seed: 0 when"):
        attempt(seed=7)
    assert Path("job", "events.jsonl").read_text() == before
    with pytest.raises(UsageError, match="auto_resume= goes on with the run in a directory"):
        accaware.run(config, plugin=SPEC, auto_resume=True)


def test_an_observers_exception_is_the_users_and_the_run_goes_on_later(
    config: AccAwareConfig,
) -> None:
    observer: Observer = Raising(1, ZeroDivisionError("the user's own"))
    with pytest.raises(PluginFailure) as raised:
        accaware.run(config, output_dir="run", plugin=SPEC, observers=[observer])
    assert raised.value.function == "Raising.notify"
    assert isinstance(raised.value.original, ZeroDivisionError)
    assert accaware.status("run").state.value == "failed"
    assert accaware.resume("run").within_budget


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """A shell starts what runs in the background deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
@pytest.mark.parametrize("handled", [False, True])
def test_ctrl_c(config: AccAwareConfig, capfd: pytest.CaptureFixture[str], handled: bool) -> None:
    handlers = []

    class CtrlC:
        def notify(self, event: Event) -> None:
            if isinstance(event, EpochFinished) and event.epoch.number == 1:
                handlers.append(signal.getsignal(signal.SIGINT))
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        accaware.run(
            config, output_dir="run", plugin=SPEC, observers=[CtrlC()], handle_signals=handled
        )
    assert signal.getsignal(signal.SIGINT) is before
    assert (handlers == [before]) is not handled
    assert ("stopping after the batch at hand" in capfd.readouterr().err) is handled
    assert accaware.status("run").state.value == "interrupted"
    assert accaware.resume("run").epochs == 2


def test_in_a_thread(config: AccAwareConfig) -> None:
    results: list[accaware.RunResult] = []

    def work() -> None:
        made = accaware.run(config, output_dir="run", plugin=SPEC, handle_signals=True)
        results.append(made)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [result.within_budget for result in results] == [True]


def test_names_are_there_without_an_import_of_their_own() -> None:
    assert "torch" in sys.modules
    for name in accaware.__all__:
        assert getattr(accaware, name) is not None
    assert accaware.errors.UsageError is UsageError
    assert accaware.events.TrialFinished is TrialFinished
    assert accaware.config.AccAwareConfig is AccAwareConfig
    assert set(accaware.__all__) <= {*dir(accaware), "__version__"}
