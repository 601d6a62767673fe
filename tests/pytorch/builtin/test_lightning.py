"""A LightningModule as it is, searched without Lightning's Trainer."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import nn
from typer.testing import CliRunner

import accaware
from accaware.cli.app import app
from accaware.config.load import AccAwareConfig
from accaware.errors import MissingExtraError, PluginContractError, PluginFailure
from accaware.pytorch import load_compressed
from accaware.pytorch.builtin.lightning import LightningTask
from accaware.pytorch.training.plugin_ranking import IdleCompression

pytestmark = pytest.mark.usefixtures("no_inference_runtimes")
MINE = Path(__file__).with_name("lit_digits.py")


@pytest.fixture
def lightning() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        return pytest.importorskip("lightning", reason="lightning is not installed")


@pytest.fixture
def checkpoint(lightning: Any, tmp_path: Path) -> Path:
    """Written by Lightning, of a module of another width than the default."""
    from tests.pytorch.builtin.lit_digits import LitNet

    torch.manual_seed(0)
    trainer = lightning.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    trainer.strategy.connect(LitNet(width=6))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def written(folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / "mine.py").write_text(MINE.read_text())
    data = {
        "plugin": "accaware.lightning",
        "plugin_args": {
            "module": "mine.py:LitNet",
            "checkpoint": "last.ckpt",
            "datamodule": "mine.py:Data",
            "monitor": "val_acc",
        },
        "device": "cpu",
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_relative_accuracy_degradation": 90,
                "initial_training_phase_epochs": 2,
                "patience_epochs": 1,
                "maximal_total_epochs": 4,
            },
        },
        "compression": [
            {
                "algorithm": "filter_pruning",
                "params": {
                    "schedule": "baseline",
                    "pruning_target": 0.3,
                    "prune_first_conv": True,
                },
            },
            {"algorithm": "knowledge_distillation", "type": "auto"},
        ],
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(data))
    return data


def task(folder: Path, **arguments: Any) -> LightningTask:
    data = written(folder)
    config = AccAwareConfig.from_json(folder / "config.json")
    return LightningTask(config, **{**data["plugin_args"], **arguments})


def test_without_lightning_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accaware.pytorch.builtin.lightning.task.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(MissingExtraError, match=r'pip install "accaware\[lightning\]"'):
        task(tmp_path)


class Interrupting:
    """An observer that ends the process's run after an epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def notify(self, event: Any) -> None:
        self.epochs += isinstance(event, accaware.events.EpochFinished)
        if self.epochs == 2:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("checkpoint")
def test_a_run_that_is_interrupted_and_resumed(tmp_path: Path) -> None:
    """With distillation, a schedule by step, mixed precision, from a relative path."""
    written(tmp_path, mixed_precision=True)
    whole = accaware.run(tmp_path / "config.json", output_dir=tmp_path / "whole")
    assert whole.best is not None
    assert whole.best.compression_rate > 0.2
    with pytest.raises(KeyboardInterrupt):
        accaware.run(
            tmp_path / "config.json",
            output_dir=tmp_path / "cut",
            observers=[Interrupting()],
        )
    accaware.resume(tmp_path / "cut")
    texts = [(tmp_path / each / "result.json").read_text() for each in ("whole", "cut")]
    assert json.loads(texts[0])["trials"] == json.loads(texts[1])["trials"]
    resolved = json.loads((tmp_path / "whole" / "config.json").read_text())["plugin_args"]
    assert resolved["module"] == f"{tmp_path}/mine.py:LitNet"
    assert resolved["checkpoint"] == f"{tmp_path}/last.ckpt"
    dense = task(tmp_path).create_model()
    small = load_compressed(whole.model_path, dense)
    assert small(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert len(small.net[0].weight) < 6


@pytest.mark.usefixtures("checkpoint")
class TestSteps:
    def test_the_checkpoints_weights_and_hyperparameters(
        self, tmp_path: Path, checkpoint: Path
    ) -> None:
        model = task(tmp_path).create_model()
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
        assert isinstance(model.net[0], nn.Conv2d)
        assert len(model.net[0].weight) == 6

    def test_what_is_logged_is_reduced_over_the_epoch(self, tmp_path: Path) -> None:
        made = task(tmp_path)
        model = made.create_model()
        _, validation = made.create_dataloaders()
        model.eval()
        data = validation.dataset
        with torch.no_grad():
            logits, classes = model(data.tensors[0]), data.tensors[1]
        right = (logits.argmax(1) == classes).float().mean()
        loss = nn.functional.cross_entropy(logits, classes)
        for monitor, expected in (("val_acc", right), ("val_loss", loss), ("double", 2 * right)):
            made = task(tmp_path, monitor=monitor)
            for _ in range(2):  # a metric begins anew
                assert float(made.validate(model, validation)) == pytest.approx(float(expected))

    def test_an_epoch_trains_and_counts(self, tmp_path: Path) -> None:
        made = task(tmp_path)
        model = made.create_model()
        train, _ = made.create_dataloaders()
        optimizer, schedules = made.configure_optimizers(model)
        compression = IdleCompression(torch.device("cpu"))
        losses = [made.train_epoch(model, train, optimizer, compression) for _ in range(3)]
        assert losses[2] < losses[0]
        assert model.epochs_seen == [0, 1, 2]
        # 20 steps of the schedule are over, and the end of an epoch takes none.
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.02)
        made.configure_optimizers(model)
        assert made.state_dict() == {"epoch": 0, "step": 0}
        assert model._trainer is None
        assert "log" not in vars(model)
        assert len(schedules) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"module": "mine.py:LitNett"}, "has no class LitNett; did you mean LitNet?"),
            ({"module": "mine.py"}, "names no class"),
            ({"checkpoint": "first.ckpt"}, "there is no file"),
            ({"checkpoint": None, "module": "mine.py:ByHand"}, "automatic_optimization = False"),
            ({"checkpoint": None, "module": "mine.py:Clips"}, "overrides on_before_optimizer_step"),
            ({"checkpoint": None, "module": "mine.py:WithoutForward"}, "has no forward"),
            ({"checkpoint": "mine.py"}, "mine.py"),
        ],
    )
    def test_what_cannot_be_trained_is_told(
        self, tmp_path: Path, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(PluginContractError) as caught:
            task(tmp_path, **arguments).create_model()
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("module", "message"),
        [
            ("AsksForLength", "asks for trainer.estimated_stepping_batches, and no Trainer runs"),
            ("TwoOptimizers", "returned 2 optimizers"),
        ],
    )
    def test_what_only_a_trainer_gives_is_told(
        self, tmp_path: Path, module: str, message: str
    ) -> None:
        made = task(tmp_path, module=f"mine.py:{module}", checkpoint=None)
        with pytest.raises(PluginContractError) as caught:
            made.configure_optimizers(made.create_model())
        assert message in str(caught.value)

    def test_a_monitor_that_is_not_logged(self, tmp_path: Path) -> None:
        made = task(tmp_path, monitor="val_accuracy")
        model = made.create_model()
        _, validation = made.create_dataloaders()
        with pytest.raises(PluginContractError, match="did you mean val_acc"):
            made.validate(model, validation)

    def test_a_checkpoint_that_would_run_code(self, tmp_path: Path, checkpoint: Path) -> None:
        content = torch.load(checkpoint, weights_only=True)
        torch.save({**content, "hyper_parameters": {"width": nn.Linear(2, 2)}}, checkpoint)
        with pytest.raises(PluginContractError, match="could run code"):
            task(tmp_path).create_model()


def test_a_change_of_the_modules_file_is_one_of_the_plugin(tmp_path: Path) -> None:
    from accaware.plugins.provenance import Provenance

    file = tmp_path / "mine.py"
    arguments = {"module": f"{file}:LitNet", "monitor": "val_acc", "rate": 3}
    digests = []
    for text in ("a = 1", "a = 1", "a = 2"):
        file.write_text(text)
        digests.append(Provenance.of_spec("accaware.lightning", arguments, tmp_path).digest)
    assert digests[0] == digests[1] != digests[2]


def test_an_exception_of_the_users_own_stays_theirs(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ArithmeticError('the user\\'s own')")
    pytest.importorskip("lightning", reason="lightning is not installed")
    with pytest.raises(PluginFailure, match="the user's own"):
        task(tmp_path, module="broken.py:LitNet")


@pytest.mark.usefixtures("lightning")
def test_what_init_writes_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, words, catch_exceptions=False)

    classes = ("--module", "blanks.py:Net", "--datamodule", "blanks.py:Digits")
    written = call("init", "--from", "lightning", *classes, "--monitor", "f1")
    assert written.exit_code == 0, written.output
    done = call("validate-config", "config.json", "--check-plugin")
    assert (done.exit_code, done.output) == (0, "config.json: ok\n")
    assert AccAwareConfig.from_json("config.json").plugin_args["monitor"] == "f1"
    text = Path("blanks.py").read_text()
    assert 'self.log("f1", ' in text
    assert "FILL IN: of Lightning" in Path("config.json").read_text()
    # A file that is there is used as it is.
    Path("config.json").unlink()
    assert call("init", "--from", "lightning", *classes).exit_code == 0
    assert Path("blanks.py").read_text() == text
    del sys.modules["blanks"]
