"""NNCF's sample configs for torch classifiers, run from beginning to end on made-up images.

    python scripts/run_sample_configs.py FOLDER

Each runs for two epochs as ``accaware run`` does it, with settings alone changed: the dataset is
fake, with ten classes; images are 8 pixels wide; a weights' address is a file of random weights,
as nothing is fetched; schedules and limits fit into two epochs; batches are of 64. A config
without a search is shown to be refused, and is then given one. Ends with 1 where any failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torchvision import models

from accaware.config.text.document import Document

ALGORITHMS = {"filter_pruning", "magnitude_sparsity", "quantization"}
SIZE = 8
ENDED = (0, 3)
"""Within budget or not: the search came to its end."""


def samples(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Those for torch classifiers whose algorithms there are here."""
    for file in sorted(folder.glob("*.json")):
        data = Document.of_text(file.read_text(), file.name).data
        named = str(data.get("model", "")).removesuffix("_32x32").removesuffix("_cifar").lower()
        if "__torch__" in file.name and named in models.list_models(module=models):
            names = {entry["algorithm"] for entry in sections(data)}
            if names <= ALGORITHMS and not unsupported(data):
                yield file, data


def sections(data: dict[str, Any]) -> list[dict[str, Any]]:
    compression = data["compression"]
    return compression if isinstance(compression, list) else [compression]


def unsupported(data: dict[str, Any]) -> bool:
    """Mixed precision by hawq, autoq or by hand, which the config's check refuses in words."""
    return any("precision" in entry.get("initializer", {}) for entry in sections(data))


def settings(data: dict[str, Any], weights: Path) -> list[str]:
    """What a run of two epochs changes."""
    adaptive = any(entry["algorithm"] != "quantization" for entry in sections(data))
    params: dict[str, Any] = {"maximal_relative_accuracy_degradation": 90}
    params["maximal_total_epochs"] = 2
    changed = {"dataset": "fake", "num_classes": 10, "batch_size": 64, "device": "cpu"}
    changed["pretrained"] = False
    if "weights" in data:
        model = models.get_model(data["model"], num_classes=10)
        torch.save(model.state_dict(), weights)
        changed["weights"] = str(weights)
    changed["input_info.sample_size"] = [1, 3, SIZE, SIZE]
    initial = 1
    for index, entry in enumerate(sections(data)):
        path = f"compression[{index}].params"
        own = entry.get("params", {})
        if entry["algorithm"] == "filter_pruning":
            changed[f"{path}.pruning_steps"] = 1
            if own.get("interlayer_ranking_type") == "learned_ranking":
                changed[f"{path}.legr_params"] = {"generations": 2, "train_steps": 2}
        if own.get("schedule") == "multistep":
            initial = 2
            changed[f"{path}.multistep_steps"] = [1]
            changed[f"{path}.multistep_sparsity_levels"] = [0.1, 0.6]
        if entry["algorithm"] == "quantization":
            changed[f"compression[{index}].initializer.range"] = {"num_init_samples": 64}
    if adaptive:
        params |= {"initial_training_phase_epochs": initial, "patience_epochs": 1}
    mode = "adaptive_compression_level" if adaptive else "early_exit"
    changed["accuracy_aware_training"] = {"mode": mode, "params": params}
    return [f"{key}={json.dumps(value)}" for key, value in changed.items()]


def accaware(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accaware", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(file: Path) -> bool:
    """Whether its lack of a search is one error that says what to add."""
    done = accaware("run", str(file))
    errors = [line for line in done.stderr.splitlines() if "warning:" not in line]
    return done.returncode == 2 and len(errors) == 1 and "add" in errors[0]


def main(folder: Path) -> int:
    failed = 0
    for file, data in samples(folder):
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch)
            words = settings(data, place / "weights.pth")
            began = time.perf_counter()
            done = accaware(
                "run",
                str(file),
                "--json",
                *("--output-dir", str(place / "run")),
                *(word for setting in words for word in ("--set", setting)),
            )
            seconds = time.perf_counter() - began
        names = " + ".join(entry["algorithm"] for entry in sections(data))
        print(f"{file.name}: {data['model']}, {names}", flush=True)
        if "accuracy_aware_training" not in data:
            said = refused(file)
            failed += not said
            how = "refused in one error that says what to add" if said else "NOT REFUSED RIGHTLY"
            print(f"  as it is: {how}")
        if done.returncode in ENDED:
            result = json.loads(done.stdout)
            best = result["best"]
            rate = "nothing" if best is None else f"{100 * best['compression_rate']:.1f} %"
            trials = len(result["trials"])
            print(f"  {result['status']}: {trials} trials, {rate}, {seconds:.0f} s")
        else:
            failed += 1
            print(f"  FAILED with {done.returncode}\n{done.stderr}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
