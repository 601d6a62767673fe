"""Whether all that runs on the CPU runs on a GPU too, and comes to the same: in under 5 minutes.

    python scripts/check_gpu.py                  # on CUDA
    python scripts/check_gpu.py --device cpu     # tries the script itself

Every config in configs/, made small, is run on the device and on the CPU; then a run that is
interrupted and resumed, the recommended search with all that it may have beside it, one in mixed
precision, one with channels last, both modes of sparsity, pruning, and every export format that is
installed. Training rounds differently on the two, so it is held against itself:
the model that was saved must give the same on both devices, and on both have the metric that the
run told. What doesn't train must be the same weight by weight. Exits with 1 where it isn't, and
prints what was found.
"""

from __future__ import annotations

import argparse
import copy
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from accaware import AccAwareConfig
from accaware.cli.commands.export import export
from accaware.cli.commands.run import run
from accaware.cli.errors import reported
from accaware.errors import MissingExtraError
from accaware.pytorch import create_compressed_model, load_compressed
from accaware.pytorch.builtin.classification import ImageClassification
from accaware.pytorch.builtin.digits import Digits, DigitsResNet
from accaware.pytorch.export import FORMATS

CONFIGS = Path(__file__).parent.parent / "configs"
WIDTH = 16
TRAINING = "accuracy_aware_training"
SMALL: dict[str, Any] = {
    "plugin_args.width": WIDTH,
    "plugin_args.epochs": 4,
    f"{TRAINING}.params.maximal_total_epochs": 7,
}
SHORT = {
    f"{TRAINING}.params.initial_training_phase_epochs": 5,
    f"{TRAINING}.params.patience_epochs": 2,
}
MIXED: dict[str, Any] = {
    "model": "mobilenet_v2",
    "model_params": {"inverted_residual_setting": [[1, 16, 1, 1], [2, 24, 2, 2]]},
    "dataset": "fake",
    "num_classes": 4,
    "input_info": {"sample_size": [1, 3, 16, 16]},
    "batch_size": 32,
    "mixed_precision": True,
    "optimizer": {"type": "Adam", "base_lr": 0.01},
    TRAINING: {
        "mode": "adaptive_compression_level",
        "params": {
            "maximal_relative_accuracy_degradation": 90,
            "initial_training_phase_epochs": 4,
            "patience_epochs": 1,
            "maximal_total_epochs": 4,
        },
    },
    "compression": [
        {"algorithm": "filter_pruning", "params": {"pruning_target": 0.3, "pruning_steps": 1}},
        {"algorithm": "knowledge_distillation", "type": "softmax", "scale": 0.1},
    ],
}
RECOMMENDED: dict[str, Any] = {
    "plugin": "accaware.pytorch.builtin.digits:Digits",
    "batch_size": 64,
    "optimizer": {"type": "Adam", "base_lr": 0.003},
    TRAINING: {
        "mode": "adaptive_compression_level",
        "preset": "recommended",
        "params": {
            "maximal_absolute_accuracy_degradation": 12,
            "patience_epochs": 2,
            "maximal_total_epochs": 9,
            "confirmation": {"fraction": 0.4},
            "required_confidence": 0.9,
        },
    },
    "compression": {
        "algorithm": "filter_pruning",
        "params": {
            "prune_first_conv": True,
            "prune_downsample_convs": True,
            "filter_importance": "taylor",
            "allocation": "cost_aware",
        },
    },
}
"""What came to the search and to the ranking, at once; the preset is the ramp, averaged weights
with batch norm statistics of their own, and a teacher."""

LEARNED = 50.0
"""Percent that a model which began with random weights has to know of four classes."""

OUTPUTS_APART = 1e-3
"""Of the largest output, in float32; TF32, which rounds by 5e-4, is off."""

SAME_ANSWERS = 0.98
"""Of the samples, where activations are quantized and a tie may go either way."""


@dataclass
class Found:
    """What a check has to tell; a fault where ``fault`` says something."""

    name: str
    told: str
    seconds: float
    fault: str = ""


class FaultError(Exception):
    """Something isn't as it is on the CPU."""


class Checks:
    """Runs checks one after another, whatever becomes of each."""

    def __init__(self, device: str, folder: Path, only: str) -> None:
        self.device = device
        self.only = only
        self.folder = folder
        self.found: list[Found] = []

    def check(self, name: str, act: Callable[[], str]) -> None:
        if self.only not in name:
            return
        began, told, fault = time.perf_counter(), "", ""
        try:
            # What commands say to people would hide the table.
            with redirect_stdout(sys.stderr):
                told = act()
        except FaultError as error:
            fault = str(error)
        except Exception as error:  # noqa: BLE001 - any is a fault, and the next check goes on
            traceback.print_exc()
            fault = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        found = Found(name, told, time.perf_counter() - began, fault)
        self.found.append(found)
        print(
            f"{name:34} {found.seconds:6.1f} s  {f'FAULT: {fault}' if fault else told}", flush=True
        )

    # Whole runs ------------------------------------------------------------------------------

    def run(self, config: Path, device: str, name: str, settings: dict[str, Any]) -> Path:
        """The directory of a run that has ended."""
        directory = self.folder / f"{name}-{device.replace(':', '')}"
        _expect(_run(config, directory, device, settings), 0, 3)
        return directory

    def whole(self, config: Path, settings: dict[str, Any]) -> str:
        """A run on the device and one on the CPU."""
        told = []
        for device in dict.fromkeys((self.device, "cpu")):
            directory = self.run(config, device, config.stem, settings)
            told.append(f"{device} {self.judged(directory)}")
        return ", ".join(told)

    def judged(self, directory: Path) -> str:
        """The run's metric, if its model gives the same on both devices and has it there."""
        result = json.loads((directory / "result.json").read_text())
        if result["best"] is None:
            raise FaultError(f"{directory.name} saved no model")
        config = AccAwareConfig.from_json(directory / "config.json")
        make, data = _task(config)
        told, rounds = result["best"]["metric"], config.quantization is not None
        images, classes = data
        answers = {
            device: _answers(
                load_compressed(directory / "best" / "model.pt", make()), images, device
            )
            for device in ("cpu", self.device)
        }
        _same(answers["cpu"], answers[self.device], rounds=rounds)
        for device, outputs in answers.items():
            metric = 100 * float((outputs.argmax(1) == classes).double().mean())
            if abs(metric - told) > 100 * (1 - SAME_ANSWERS):
                raise FaultError(f"{directory.name}: top1 {told:.2f}, but {metric:.2f} on {device}")
        return f"top1 {told:.2f} at {100 * result['best']['compression_rate']:.0f} %"

    def resumed(self, config: Path, settings: dict[str, Any]) -> str:
        """A run that Ctrl-C ends in its third epoch, and that goes on."""
        directory = self.folder / f"{config.stem}-resumed"
        # The dense model's training takes steps as well, in 4 epochs of 23.
        with _ctrl_c_at(4 * 23 + 2 * 23 + 5):
            _expect(_run(config, directory, self.device, settings), 130)
        _expect(reported(lambda: run(resume=directory, quiet=True)), 0, 3)
        began = (directory / "events.jsonl").read_text().count('"run_resumed"')
        if began != 1:
            raise FaultError(f"the run was resumed {began} times")
        peace = self.run(config, self.device, f"{config.stem}-undisturbed", settings)
        trials = [
            [
                trial["target_rate"]
                for trial in json.loads((each / "result.json").read_text())["trials"]
            ]
            for each in (directory, peace)
        ]
        exactly = "as undisturbed" if trials[0] == trials[1] else "another way than undisturbed"
        if self.device == "cpu" and trials[0] != trials[1]:
            raise FaultError(f"{trials[0]} after a resume, {trials[1]} undisturbed")
        return f"{self.judged(directory)}, {exactly}"

    def recommended(self, learning_rate: str, polish: bool) -> str:
        """The preset with all that a search may have beside it; interrupted, and whole."""
        config = self.folder / f"recommended-{learning_rate}.json"
        config.write_text(json.dumps(RECOMMENDED))
        settings = {
            **{key: value for key, value in SMALL.items() if key.startswith("plugin_args")},
            f"{TRAINING}.params.trial_learning_rate": learning_rate,
            f"{TRAINING}.params.polish": polish,
        }
        told = self.resumed(config, settings)
        directory = self.folder / f"{config.stem}-undisturbed-{self.device.replace(':', '')}"
        result = json.loads((directory / "result.json").read_text())
        if result["confirmation"] is None:
            raise FaultError("nothing was confirmed")
        if result["best"]["standard_error"] is None:
            raise FaultError("the best trial was not paired with the dense model's samples")
        return told

    def channels_last(self) -> str:
        """Weights stay as they lie in memory, and compute the same."""
        config = self.folder / "channels_last.json"
        config.write_text(json.dumps({**MIXED, "channels_last": True}))
        return self.judged(self.run(config, self.device, "channels_last", {}))

    def mixed_precision(self) -> str:
        config = self.folder / "mixed.json"
        config.write_text(json.dumps(MIXED))
        directory = self.run(config, self.device, "mixed", {})
        best = json.loads((directory / "result.json").read_text())["best"]
        if best["metric"] < LEARNED:
            raise FaultError(f"it learned nothing: top1 {best['metric']:.2f} of 4 classes")
        return self.judged(directory)

    def exported(self, form: str) -> str:
        """Of the run that prunes and rounds; the file is compared on its validation data."""
        directory = self.folder / f"digits_pruning_int8-{self.device.replace(':', '')}"
        deed = partial(export, directory, format=form, device=self.device, json=True)
        _expect(reported(deed), 0)
        return "equal"

    # What doesn't train ------------------------------------------------------------------------

    def one_rate(self, section: dict[str, Any], rate: float) -> str:
        """The same weights are compressed on both devices, and the same ones go."""
        config = AccAwareConfig.from_dict(
            {
                TRAINING: {
                    "mode": "adaptive_compression_level",
                    "params": {
                        "maximal_relative_accuracy_degradation": 1.0,
                        "initial_training_phase_epochs": 100,
                        "patience_epochs": 1,
                    },
                },
                "compression": section,
            }
        )
        states = []
        for device in ("cpu", self.device):
            torch.manual_seed(0)
            model = DigitsResNet(WIDTH).to(device)
            example = torch.zeros(1, 1, 8, 8, device=device)
            controller, _ = create_compressed_model(model, config, example)
            controller.compression_rate = rate
            kept = copy.deepcopy(controller.state_dict())
            # To another rate and back, through a checkpoint: masks and dense forms move.
            controller.compression_rate = rate / 2
            controller.load_state_dict(kept)
            here = {tensor.device.type for tensor in model.state_dict().values()}
            if here != {torch.device(device).type}:
                raise FaultError(f"the model is on {here}")
            states.append({name: value.cpu() for name, value in model.state_dict().items()})
        for name, value in states[0].items():
            other = states[1][name]
            if value.shape != other.shape:
                raise FaultError(
                    f"{name} is of shape {list(other.shape)}, {list(value.shape)} on cpu"
                )
            if not torch.equal(value == 0, other == 0) or not torch.allclose(value, other):
                raise FaultError(f"{name} keeps other weights than on cpu")
        return f"{100 * controller.compression_rate:.1f} %"


def _task(config: AccAwareConfig) -> tuple[Callable[[], nn.Module], tuple[Tensor, Tensor]]:
    """How the dense model is made, and the validation images and classes."""
    if config.plugin is None:
        task = ImageClassification(config)
        _, data = task.create_datasets()
        pairs = [data[at] for at in range(len(data))]
        images = torch.stack([image for image, _ in pairs])
        return task.create_model, (images, torch.tensor([label for _, label in pairs]))
    width = config.plugin_args["width"]
    _, held_out = Digits(width).create_datasets()
    images, classes = held_out.tensors
    confirmation = config.accuracy_aware_training.confirmation
    if confirmation is not None and confirmation.fraction is not None:
        # As accaware draws the part that trials are judged by.
        count = len(images)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed))
        judged = order[round(confirmation.fraction * count) :]
        images, classes = images[judged], classes[judged]
    return lambda: DigitsResNet(width), (images, classes)


def _answers(model: nn.Module, images: Tensor, device: str) -> Tensor:
    """Outputs on the CPU."""
    model = model.to(device).eval()
    with torch.no_grad():
        found: Tensor = model(images.to(device))
    return found.cpu()


def _same(expected: Tensor, found: Tensor, *, rounds: bool) -> None:
    if not bool(expected.isfinite().all()) or not expected.numel():
        raise FaultError("the outputs are not finite")
    apart = float((found - expected).abs().max() / expected.abs().max())
    same = float((found.argmax(1) == expected.argmax(1)).double().mean())
    if same < SAME_ANSWERS or not (rounds or apart <= OUTPUTS_APART):
        raise FaultError(
            f"outputs are apart by {apart:.2g} of the largest, {same:.1%} of answers same"
        )


def _run(config: Path, directory: Path, device: str, settings: dict[str, Any]) -> int:
    deed = partial(run, config, output_dir=directory, device=device, quiet=True, overrides=settings)
    return reported(deed)


def _expect(code: int, *allowed: int) -> None:
    if code not in allowed:
        raise FaultError(f"the command ended with exit code {int(code)}")


@contextmanager
def _ctrl_c_at(step: int) -> Iterator[None]:
    """After so many steps of all optimizers."""
    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            signal.raise_signal(signal.SIGINT)

    handle = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _pruning(**params: Any) -> dict[str, Any]:
    return {
        "algorithm": "filter_pruning",
        "params": {"prune_first_conv": True, "prune_downsample_convs": True, **params},
    }


def _sparsity(mode: str) -> dict[str, Any]:
    params = {
        "sparsity_level_setting_mode": mode,
        "sparsity_target_epoch": 50,
        "sparsity_freeze_epoch": 60,
    }
    return {"algorithm": "magnitude_sparsity", "params": params}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script")
    parser.add_argument("--only", default="", help="the checks whose name has this in it")
    chosen = parser.parse_args()
    device = chosen.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("torch sees no GPU here; --device cpu tries the script itself", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "the CPU"
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, {device}: {name}")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(device, Path(folder), chosen.only)
        for mode in ("global", "local"):
            checks.check(
                f"sparsity, {mode}", lambda mode=mode: checks.one_rate(_sparsity(mode), 0.7)
            )
        for importance in ("L2", "geometric_median"):
            section = _pruning(filter_importance=importance)
            checks.check(
                f"pruning by {importance}", lambda section=section: checks.one_rate(section, 0.5)
            )
        for config in sorted(CONFIGS.glob("digits_*.json")):
            early = "early_exit" in config.stem
            settings = SMALL if early else {**SMALL, **SHORT}
            checks.check(
                config.stem,
                lambda config=config, settings=settings: checks.whole(config, settings),
            )
        resumed = partial(checks.resumed, CONFIGS / "digits_pruning_int8.json", {**SMALL, **SHORT})
        checks.check("interrupted and resumed", resumed)
        for learning_rate, polish in (("cosine", True), ("search", False)):
            checks.check(
                f"recommended, {learning_rate}{', polish' if polish else ''}, resumed",
                partial(checks.recommended, learning_rate, polish),
            )
        checks.check("channels last, distillation", checks.channels_last)
        checks.check("mixed precision, distillation", checks.mixed_precision)
        for form in FORMATS:
            try:
                FORMATS[form].require()
            except MissingExtraError as error:
                print(f"export to {form:24} not tried: {error}")
                continue
            checks.check(f"export to {form}", lambda form=form: checks.exported(form))
    faults = sum(bool(each.fault) for each in checks.found)
    print(f"{len(checks.found)} checks, {faults} faults, {time.perf_counter() - began:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
