"""``accaware export``, and exports at the end of a run, as their user meets them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result

from accaware.pytorch.builtin.digits import Digits
from accaware.pytorch.run import TorchRun
from accaware.runtimes import runtime
from tests.e2e.conftest import OWN_PLUGIN, Accaware, Done, Run, own_config

Export = Callable[..., Result]


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """To time its model, which is done last, a run would export it twice more."""
    monkeypatch.setattr(TorchRun, "latency", lambda self, path: None)


@pytest.fixture
def export(accaware: Accaware) -> Export:
    return partial(accaware, "export")


@pytest.fixture
def copied(finished: Done, tmp_path: Path) -> Path:
    """The finished run, to write into."""
    return Path(shutil.copytree(finished.directory, tmp_path / "copied"))


def test_an_exported_file_has_the_metric_of_the_run(
    finished: Done, copied: Path, export: Export
) -> None:
    done = export(copied, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    path = copied / "exports" / "model.onnx"
    assert told["file"] == str(path)
    assert told["file_size"] == path.stat().st_size
    best = finished.result["best"]
    assert told["metric"] == told["model_metric"] == best["metric"]
    assert (told["samples"], told["same_top1"]) == (360, 1.0)
    assert told["largest_difference"] <= 1e-5 * told["largest_output"]

    images, classes = Digits().create_datasets()[1].tensors
    (logits,) = runtime("onnxruntime").load(path, 1).run({0: images.numpy()})
    right = (np.asarray(logits).argmax(1) == classes.numpy()).mean()
    assert 100 * right == pytest.approx(best["metric"])

    told_inside = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    manifest = json.loads((copied / "manifest.json").read_text())
    assert told_inside["accaware.config_digest"] == manifest["config_digest"]
    assert float(told_inside["accaware.compression_rate"]) == best["compression_rate"]
    assert float(told_inside["accaware.metric_value"]) == best["metric"]
    assert told_inside["accaware.metric"] == "top1"


def test_a_table_and_a_file_of_ones_own(copied: Path, export: Export, tmp_path: Path) -> None:
    target = tmp_path / "new" / "small.xml"
    done = export(copied, "--format", "openvino", "--output", str(target), "--static-batch")
    assert done.exit_code == 0, done.stderr
    assert sorted(file.name for file in target.parent.iterdir()) == ["small.bin", "small.xml"]
    assert "openvino, opset 21" in done.stdout
    assert "fixed" in done.stdout
    assert done.stdout.rstrip().endswith(str(target))
    assert not (copied / "exports").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--opset", "9"], "opset 9 is not between 21 and"),
        (["--format", "state-dict", "--opset", "21"], "--opset 21 is for onnx and openvino"),
        (["--format", "openvino", "--output", "m.onnx"], "must end in .xml"),
    ],
)
def test_mistakes_are_told_before_the_model_is_made(
    options: list[str], message: str, copied: Path, export: Export
) -> None:
    done = export(copied, *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Training the dense model" not in done.stdout + done.stderr


def test_a_folder_without_a_model_is_told(tmp_path: Path, export: Export) -> None:
    done = export(tmp_path / "nothing")
    assert (done.exit_code, done.stderr) == (2, f"error: {tmp_path / 'nothing'}: holds no run\n")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "events.jsonl").touch()
    done = export(tmp_path / "begun")
    assert done.exit_code == 2
    assert "the run has no model yet" in done.stderr


def test_a_run_exports_what_its_config_asks_for(run: Run, tmp_path: Path) -> None:
    config = own_config(tmp_path, export=["onnx", "state-dict"])
    done = run(config)
    assert done.code == 0, done.err
    exports = done.result["exports"]
    assert [each["format"] for each in exports] == ["onnx", "state-dict"]
    for each in exports:
        assert Path(each["file"]).stat().st_size == each["file_size"]
        assert each["metric"] == pytest.approx(done.result["best"]["metric"], abs=0.005)
        assert each["file"] in done.out
    assert done.out.index("onnx, opset 21") < done.out.index("Model: ")


def test_an_export_that_fails_loses_nothing(run: Run, accaware: Accaware, tmp_path: Path) -> None:
    config = own_config(tmp_path, export=["onnx", "state-dict"])
    branching = OWN_PLUGIN.replace("return model\n", "return Branching(*model)\n", 1) + (
        "\n\nclass Branching(nn.Sequential):\n"
        "    def forward(self, images):\n"
        "        return super().forward(images if images.sum() > -1e9 else -images)\n"
    )
    (tmp_path / "mine.py").write_text(branching)
    done = run(config)
    assert done.code == 1
    assert "the model is saved, but not exported: torch.export can't export Branching" in done.text
    assert f"accaware export {done.directory} --format onnx" in done.text
    assert (done.directory / "best" / "model.pt").is_file()
    assert done.result["status"] == "within_budget"
    assert [each["format"] for each in done.result["exports"]] == ["state-dict"]
    assert [file.name for file in (done.directory / "exports").iterdir()] == ["model.pt"]
    timed = accaware("benchmark", done.directory)
    assert timed.exit_code == 1
    assert "PyTorch itself needs no export: --runtime pytorch" in timed.stderr
    assert accaware("benchmark", done.directory, "--runtime", "pytorch").exit_code == 0


def test_a_fixed_batch_is_explained_and_autocast_left(
    run: Run, accaware: Accaware, tmp_path: Path
) -> None:
    config = own_config(tmp_path, export=["onnx"])
    plugin = OWN_PLUGIN.replace("return model\n", "return InHundreds(*model)\n", 1) + (
        "\n\nclass InHundreds(nn.Sequential):\n"
        "    def forward(self, *inputs):\n"
        "        parts = inputs[0].split(100)\n"
        "        return torch.cat([super(InHundreds, self).forward(part) for part in parts])\n"
    )
    plugin = plugin.replace(
        "        with torch.no_grad():\n",
        "        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):\n",
    )
    (tmp_path / "mine.py").write_text(plugin)
    done = run(config)
    assert done.code == 0, done.err
    (told,) = done.result["exports"]
    assert not told["dynamic_batch"]
    assert "computes so for batches of 1 to 100 alone" in told["fixed_batch"]
    assert f"onnx: the batch is fixed: {told['fixed_batch'][:40]}" in done.out
    assert told["largest_difference"] <= 1e-5 * told["largest_output"]
    again = accaware("export", done.directory, "--format", "torch-export", "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["fixed_batch"] == told["fixed_batch"]


def test_a_validate_that_uses_parts_of_the_model(run: Run, tmp_path: Path) -> None:
    config = own_config(tmp_path, export=["onnx"])
    whole, parts = "found = [(model(images)", "found = [(model[-1](model[:-1](images))"
    assert whole in OWN_PLUGIN
    (tmp_path / "mine.py").write_text(OWN_PLUGIN.replace(whole, parts))
    done = run(config)
    assert done.code == 0, done.err
    (told,) = done.result["exports"]
    assert told["metric"] is None
    assert told["model_metric"] == pytest.approx(done.result["best"]["metric"])
    assert told["samples"] == 397  # all of the validation data
    assert told["fixed_batch"] is None


def test_a_package_that_an_export_will_need_is_missed_before_training(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    done = run(own_config(tmp_path, export=["onnx"]))
    assert done.code == 2
    assert 'pip install "accaware[onnx]"' in done.err
    assert not done.directory.exists()
