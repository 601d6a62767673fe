"""``accaware benchmark``, and the latency at the end of a run, as their user meets them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result

from tests.e2e.conftest import Accaware, Done, Run, own_config

Benchmark = Callable[..., Result]

SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_target": 0.3, "sparsity_target_epoch": 1, "sparsity_freeze_epoch": 2},
}


@pytest.fixture
def benchmark(accaware: Accaware) -> Benchmark:
    return partial(accaware, "benchmark")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_json_has_standard_output_for_itself(finished: Done, benchmark: Benchmark) -> None:
    before = contents(finished.directory)
    done = benchmark(finished.directory, "--json", "--batch", "2", "--threads", "2")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert "Training the dense model" in done.stderr
    assert set(found) == {
        "model", "latency", "throughput", "file_size", "peak_memory", "memory_of", "convolutions",
    }  # fmt: skip
    latency = found["latency"]
    assert (latency["runtime"], latency["batch"], latency["threads"]) == ("onnxruntime", 2, 2)
    assert found["convolutions"] == {"dense": {"float32": 9}, "compressed": {"float32": 9}}
    # What was pruned is gone from the file, too.
    model = finished.result["model"]["parameters"]
    removed = 4 * (model["dense"] - model["compressed"])
    assert found["file_size"]["dense"] - found["file_size"]["compressed"] > 0.9 * removed
    assert contents(finished.directory) == before


def test_a_table(finished: Done, benchmark: Benchmark) -> None:
    done = benchmark(finished.directory, "--runtime", "pytorch", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    (head,) = [line for line in lines if line.startswith("DigitsResNet in pytorch ")]
    assert head.endswith(" on cpu, 1 thread, a batch of 1")
    for row in ("latency, median ", "middle half ", "throughput ", "file size ", "peak memory "):
        assert sum(line.startswith(row) for line in lines) == 1
    size = finished.result["model"]["file_size"]
    assert f"{size['dense'] / size['compressed']:.1f}x smaller" in done.stdout
    assert "simulate" not in done.stdout
    assert "\x1b" not in done.output


def test_mistakes(
    finished: Done, benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "events.jsonl").touch()
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = finished.directory
    for directory, options, message in [
        (tmp_path / "none", (), "none: holds no run"),
        (unfinished, (), "unfinished: the run has no model yet"),
        (run, ("--batch", "0"), "--batch 0 is below the minimum 1"),
        (run, ("--threads", "0"), "--threads 0 is below the minimum 1"),
        (run, ("--runtime", "tflite"), "'tflite' is not one of 'pytorch', 'onnxruntime'"),
        (run, ("--runtime", "openvino"), 'pip install "accaware[openvino]"'),
        (run, ("--runtime", "onnxruntime", "--device", "cuda"), "onnxruntime computes on the CPU"),
        (run, ("--runtime", "pytorch", "--device", "mps"), "device 'mps' is not available"),
    ]:
        done = benchmark(directory, *options)
        assert done.exit_code == 2, done.output
        assert message in " ".join(done.stderr.split())
        assert done.stdout == ""
        assert "Traceback" not in done.output


def test_a_run_tells_the_latency(finished: Done) -> None:
    latency = finished.result["latency"]
    assert latency["runtime"] == "onnxruntime"
    assert (latency["batch"], latency["simulated"]) == (1, False)
    assert latency["dense"]["median"] > 0
    (row,) = [line for line in finished.err.splitlines() if line.startswith("latency in onnx")]
    assert row.split()[-1] in ("faster", "slower")


def test_without_a_runtime_it_is_pytorchs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    done = run(own_config(tmp_path))
    assert done.code == 0, done.text
    assert done.result["latency"]["runtime"] == "pytorch"
    assert "latency in pytorch" in done.text
    quantized = own_config(tmp_path, compression=[SPARSITY, {"algorithm": "quantization"}])
    (tmp_path / "run").rename(tmp_path / "first")
    done = run(quantized)
    assert done.code in (0, 3), done.text
    assert done.result["quantizers"]
    assert done.result["latency"] is None
    assert "latency in" not in done.text


def test_a_model_that_cannot_be_exported_fails_nothing(run: Run, tmp_path: Path) -> None:
    config = own_config(tmp_path, compression=SPARSITY)
    plugin = tmp_path / "mine.py"
    text = plugin.read_text().replace("nn.Flatten()", "nn.Flatten(), Undecided()")
    plugin.write_text(
        text + "\n\nclass Undecided(nn.Module):\n"
        "    def forward(self, features):\n"
        "        return features if features.sum() > 0 else -features\n"
    )
    done = run(config)
    assert done.code in (0, 3), done.text
    assert done.result["best"] is not None
    assert done.result["latency"] is None
    warnings = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: the best model could not be timed: ")
    assert "can't export Sequential" in warnings[0]
    assert "def forward" not in done.err  # what torch says of it at length
    assert "latency in" not in done.text
