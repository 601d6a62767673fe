"""What compression gains and costs on a GPU: ResNet-50 at 224x224, in about 3 minutes.

    python scripts/bench_gpu.py                  # on CUDA
    python scripts/bench_gpu.py --device cpu --size 32 --batch 4 --steps 2   # tries the script

Training steps of the dense model and of one without half of its filters, in bfloat16 and float32,
with channels first and last in memory, with any number of channels and with multiples of 8; the
seconds that the groups and a new rate take; how often a step waits for the GPU; what the search
adds to an epoch; inference in onnxruntime's CUDA provider where that is installed. What was
aimed at stands beside each number that was. A part that fails is told, and the others go on; the
exit code is 1 then.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

import accaware
from accaware import AccAwareConfig
from accaware.errors import MissingExtraError
from accaware.extras import import_extra
from accaware.pytorch import create_compressed_model, export_model
from accaware.pytorch.compression.calibration import BatchNormAdapter
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.data.loaders import DeviceLoader
from accaware.pytorch.run import TorchRun
from accaware.pytorch.training import classification
from accaware.pytorch.training.mixed_precision import MixedPrecision
from accaware.pytorch.training.runner import TorchRunner
from accaware.pytorch.training.task import TrainingCompression
from accaware.search.metric import Metric
from accaware.search.ports import TrainingCallbacks

CLASSES = 1000
HALF = {"any number": 0.49, "multiples of 8": 0.5}
"""Of the filters. A bit less than half of 64, 128, ... 2048 leaves no multiples of 8."""

AIMS = {"step": 0.40, "rate": 0.3, "overhead": 0.01, "waits": 1}
STEPS_PER_EPOCH = 1000
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}
DISTILLATION = {"algorithm": "knowledge_distillation", "type": "softmax", "temperature": 2}
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
READS = ("aten::item", "aten::_local_scalar_dense", "aten::nonzero")


@dataclass(frozen=True)
class Setting:
    """What all parts are measured with."""

    device: torch.device
    size: int
    batch: int
    steps: int
    model: str

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        made: nn.Module = torchvision.models.get_model(self.model, weights=None)
        return made.to(self.device)

    def batches(self, count: int, **how: Any) -> list[tuple[Tensor, Tensor]]:
        """The same one so many times, on the device."""
        torch.manual_seed(1)
        images = torch.randn(self.batch, 3, self.size, self.size).to(self.device, **how)
        return [(images, torch.randint(CLASSES, (self.batch,)).to(self.device))] * count

    def on_host(self) -> list[tuple[Tensor, ...]]:
        """One in memory that a copy needn't wait for, as accaware's own loaders give it."""
        batch = tuple(each.cpu() for each in self.batches(1)[0])
        if self.device.type == "cuda":
            batch = tuple(each.pin_memory() for each in batch)
        return [batch]

    def example(self) -> Tensor:
        return torch.zeros(1, 3, self.size, self.size, device=self.device)

    def pruned(
        self, *others: dict[str, Any], **params: Any
    ) -> tuple[PTCompressionController, nn.Module]:
        """The network with its groups found, dense yet."""
        model = self.network()
        config = AccAwareConfig.from_dict(
            {
                "accuracy_aware_training": {
                    "mode": "early_exit",
                    "params": {
                        "maximal_absolute_accuracy_degradation": 1,
                        "maximal_total_epochs": 200,
                    },
                },
                "compression": [_pruning(**params), *others],
            }
        )
        return create_compressed_model(model, config, self.example())

    def now(self) -> float:
        """Seconds, once the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def seconds(self, act: Callable[[], object]) -> float:
        began = self.now()
        act()
        return self.now() - began


def _pruning(**params: Any) -> dict[str, Any]:
    whole = {"prune_first_conv": True, "prune_downsample_convs": True, **params}
    return {"algorithm": "filter_pruning", "params": whole}


class Parts:
    """Runs one part after another, whatever becomes of each."""

    def __init__(self) -> None:
        self.failed = 0

    def part(self, name: str, act: Callable[[], None]) -> None:
        began = time.perf_counter()
        print(f"\n{name}", flush=True)
        try:
            act()
        except Exception:  # noqa: BLE001 - whatever it is, the others have their turn
            self.failed += 1
            traceback.print_exc(file=sys.stdout)
            print("FAILED", flush=True)
        print(f"  ({time.perf_counter() - began:.0f} s)", flush=True)


def tell(what: str, value: str, aim: str = "") -> None:
    print(f"  {what:44} {value:>24}{f'   (aim: {aim})' if aim else ''}", flush=True)


# Training steps --------------------------------------------------------------------------------


def training_steps(setting: Setting) -> None:
    """Whole epochs of the default training: forward, backward, step, and the loss that is read."""
    subjects = {}
    for name, params in (("any number", {}), ("multiples of 8", {"channel_multiple": 8})):
        controller, model = setting.pruned(**params)
        dense = sum(each.numel() for each in model.parameters())
        controller.compression_rate = HALF[name]
        left = sum(each.numel() for each in model.parameters())
        tell(f"half of the filters, {name}", f"{controller.compression_rate:.1%} gone")
        tell("", f"{left / dense:.1%} of the weights")
        subjects[f"half, {name}"] = controller, model
    controller, model = setting.pruned()
    subjects = {"dense": (controller, model), **subjects}
    for precision in ("bfloat16", "float32"):
        for order, memory_format in FORMATS.items():
            dense_seconds = 0.0
            for name, (controller, model) in subjects.items():
                model.to(memory_format=memory_format)
                seconds, memory = _step(setting, controller, model, precision, memory_format)
                dense_seconds = dense_seconds or seconds
                aimed = (precision, order, name) == ("bfloat16", "last", "half, multiples of 8")
                told = (
                    f"{1e3 * seconds:7.1f} ms {setting.batch / seconds:8.0f} images/s "
                    f"{memory:5.1f} GB {seconds / dense_seconds:6.3f} x dense"
                )
                aim = f"at most {AIMS['step']:.2f}" if aimed else ""
                tell(f"{precision}, channels {order}, {name}", told, aim)


def _step(
    setting: Setting,
    controller: PTCompressionController,
    model: nn.Module,
    precision: str,
    memory_format: torch.memory_format,
) -> tuple[float, float]:
    """Seconds a step, and the most GB that were in use."""
    # Nobody trains on what was learned from noise before.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    mixed = MixedPrecision() if precision == "bfloat16" else None

    (batch,) = setting.batches(1, memory_format=memory_format)
    compression = TrainingCompression(controller)

    def epoch(steps: int) -> None:
        batches = [batch] * steps
        classification.train_epoch(model, batches, optimizer, compression, precision=mixed)

    on_gpu = setting.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setting.device)
    epoch(max(setting.steps // 3, 1))
    # In parts, of which the median isn't moved by one that was disturbed.
    parts = [setting.seconds(partial(epoch, setting.steps)) / setting.steps for _ in range(3)]
    memory = torch.cuda.max_memory_allocated(setting.device) / 1e9 if on_gpu else float("nan")
    optimizer.zero_grad()
    return statistics.median(parts), memory


# Groups and rates ------------------------------------------------------------------------------


def groups_and_rates(setting: Setting) -> None:
    """With Adam, whose state is sliced too, and channels last."""
    for name, others in (("", ()), (" with a teacher", (DISTILLATION,))):
        tell(
            f"create_compressed_model{name}",
            f"{setting.seconds(partial(setting.pruned, *others)):.2f} s",
        )
    for params in ({}, {"allocation": "cost_aware", "channel_multiple": 8}):
        controller, model = setting.pruned(**params)
        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
        controller.attach_optimizer(optimizer)
        batches = setting.batches(1, memory_format=torch.channels_last)
        compression = TrainingCompression(controller)
        spent = []
        for rate in (0.5, 0.3, 0.6, 0.45, 0.7, 0.2):
            classification.train_epoch(model, batches, optimizer, compression)
            spent.append(setting.seconds(partial(setattr, controller, "compression_rate", rate)))
        told = f"{statistics.median(spent):.3f} s, at most {max(spent):.3f} s"
        tell(f"a new rate, {params.get('allocation', 'uniform')}", told, f"under {AIMS['rate']} s")
        if not all(
            each.is_contiguous(memory_format=torch.channels_last)
            for each in model.parameters()
            if each.dim() == 4
        ):
            raise AssertionError("channels are no longer last in memory")
    state: Any = None

    def keep() -> None:
        nonlocal state
        state = controller.state_dict()

    tell("state_dict", f"{setting.seconds(keep):.3f} s")
    tell("load_state_dict", f"{setting.seconds(lambda: controller.load_state_dict(state)):.3f} s")


# Waiting for the GPU ---------------------------------------------------------------------------


def waits(setting: Setting) -> None:
    """How often a step of the default training has the CPU wait for the GPU, or read from it."""
    aim = f"at most {AIMS['waits']}"
    for name, others, averaging, importance in (
        ("the default training", (), "none", "L2"),
        ("with a teacher", (DISTILLATION,), "none", "L2"),
        ("with averaged weights", (), "polynomial", "L2"),
        ("with both, importance by taylor", (DISTILLATION,), "polynomial", "taylor"),
    ):
        controller, model = setting.pruned(*others, filter_importance=importance)
        controller.compression_rate = 0.5
        few, many = (
            _counted(setting, controller, model, averaging, steps)
            for steps in (setting.steps, 2 * setting.steps)
        )
        # What an epoch has once is no step's.
        a_step = {kind: (many[kind] - few[kind]) / setting.steps for kind in (*WAITS, *READS)}
        waiting = sum(a_step[kind] for kind in WAITS)
        read = a_step["aten::_local_scalar_dense"]
        tell(name, f"{waiting:.2f} waits, {read:.2f} reads a step", aim)
        told = ", ".join(f"{kind} {count:.2f}" for kind, count in a_step.items() if count)
        print(f"    {told or 'none'}", flush=True)
        if max(waiting, read) > AIMS["waits"]:
            raise AssertionError(f"{name}: a step waits more than once")


def _counted(
    setting: Setting,
    controller: PTCompressionController,
    model: nn.Module,
    averaging: str,
    steps: int,
) -> Counter[str]:
    """Calls of each kind in an epoch, as the search trains it."""
    precision = MixedPrecision()
    loader = DeviceLoader(setting.on_host() * steps, setting.device, lambda done, total: None)

    def train(controller: Any, model: Any, *, optimizer: Any, **_: Any) -> float:
        compression = TrainingCompression(controller)
        return classification.train_epoch(
            model, loader, optimizer, compression, precision=precision
        )

    with tempfile.TemporaryDirectory() as folder:
        runner = TorchRunner(
            model,
            controller,
            TrainingCallbacks(
                train_epoch_fn=train,
                validate_fn=lambda model: 0.0,
                configure_optimizers_fn=lambda: (
                    torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9),
                    None,
                ),
            ),
            folder,
            weight_averaging=averaging,
        )
        runner.start(1.0)
        runner.train_epoch(0)
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if setting.device.type == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=kinds) as profile:
            runner.train_epoch(1)
        controller.release_optimizers()
    return Counter({each.key: each.count for each in profile.key_averages()})


# The search ------------------------------------------------------------------------------------


class Timed:
    """A plugin on made-up images whose own functions are timed.

    The rest of a run's time is accaware's.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.spent: Counter[str] = Counter()
        self.epochs = 0
        self._precision = MixedPrecision()

    def create_model(self) -> nn.Module:
        return self.setting.network().to(memory_format=torch.channels_last)

    def create_dataloaders(self) -> Any:
        images = self.setting.on_host()
        return images * self.setting.steps, images

    def configure_optimizers(self, model: nn.Module) -> Any:
        return torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def train_epoch(self, model: nn.Module, loader: Any, optimizer: Any, compression: Any) -> float:
        self.epochs += 1
        with self.timed("training"):
            return classification.train_epoch(
                model, loader, optimizer, compression, precision=self._precision
            )

    def validate(self, model: nn.Module, loader: Any) -> Metric:
        with self.timed("validation"):
            return classification.validate(model, loader, self._precision)

    def timed(self, what: str) -> Any:
        return _Timed(self, what)


@dataclass
class _Timed:
    plugin: Timed
    what: str

    def __enter__(self) -> None:
        self.began = self.plugin.setting.now()

    def __exit__(self, *_: object) -> None:
        self.plugin.spent[self.what] += self.plugin.setting.now() - self.began


def search_overhead(setting: Setting) -> None:
    """All of a search beside the user's functions: rates, checkpoints, snapshots, the journal."""
    plugin = Timed(setting)
    began: dict[str, float] = {}
    adapt, search = BatchNormAdapter.prepare, TorchRun.search

    def adapted(self: Any, *arguments: Any) -> None:
        with plugin.timed("batch norm adaptation"):
            adapt(self, *arguments)

    def searched(self: Any) -> Any:
        began["search"], plugin.epochs = setting.now(), 0
        plugin.spent.clear()
        try:
            return search(self)
        finally:
            began["end"] = setting.now()

    config = {
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "preset": "recommended",
            "params": {
                "maximal_absolute_accuracy_degradation": 50,
                "patience_epochs": 2,
                "maximal_total_epochs": 6,
            },
        },
        "compression": [_pruning()],
    }
    BatchNormAdapter.prepare, TorchRun.search = adapted, searched  # type: ignore[method-assign]
    latency, TorchRun.latency = TorchRun.latency, lambda self, path: None  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole = setting.now()
            result = accaware.run(
                config,
                output_dir=Path(folder) / "run",
                plugin=plugin,
                device=str(setting.device),
                progress=False,
            )
            whole = setting.now() - whole
    finally:
        BatchNormAdapter.prepare, TorchRun.search = adapt, search  # type: ignore[method-assign]
        TorchRun.latency = latency  # type: ignore[method-assign]
    searched_for = began["end"] - began["search"]
    own = searched_for - sum(plugin.spent.values())
    steps = plugin.epochs * setting.steps
    step = plugin.spent["training"] / steps
    trials = len(result.trials)
    tell("the search", f"{trials} trials, {plugin.epochs} epochs, {searched_for:.1f} s")
    for what, seconds in plugin.spent.items():
        tell(f"  {what}", f"{seconds:.2f} s")
    tell("  the rest", f"{own:.2f} s, {own / plugin.epochs:.3f} s an epoch")
    tell("  before and after the search", f"{whole - searched_for:.1f} s")
    share = own / plugin.epochs / (STEPS_PER_EPOCH * step)
    aim = f"under {AIMS['overhead']:.0%}"
    tell(f"share of an epoch of {STEPS_PER_EPOCH} steps", f"{share:.2%}", aim)
    beside = _beside_a_step(setting)
    tell("beside the same training by hand, a step", f"{beside:+.2%}", aim)


def _beside_a_step(setting: Setting) -> float:
    """What the runner's epoch takes more than a loop without accaware, as a share."""
    controller, model = setting.pruned()
    controller.compression_rate = 0.5
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)
    batches = setting.batches(setting.steps, memory_format=torch.channels_last)
    mixed = MixedPrecision()
    loader = DeviceLoader(batches, setting.device, lambda done, total: None)
    compression = TrainingCompression(controller)

    def by_hand() -> None:
        model.train()
        for images, classes in batches:
            with mixed.forward(setting.device):
                loss = nn.functional.cross_entropy(model(images), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    def by_accaware() -> None:
        classification.train_epoch(model, loader, optimizer, compression, precision=mixed)

    by_hand()
    spent: dict[str, list[float]] = {"hand": [], "accaware": []}
    for _ in range(5):
        spent["hand"].append(setting.seconds(by_hand))
        spent["accaware"].append(setting.seconds(by_accaware))
    hand, ours = (statistics.median(each) for each in spent.values())
    return ours / hand - 1


# Inference -------------------------------------------------------------------------------------


def inference(setting: Setting) -> None:
    """Exported models in onnxruntime, in the providers that compute on the GPU."""
    try:
        package = import_extra("onnxruntime", "onnx")
        import_extra("onnxscript", "onnx")
    except MissingExtraError as error:
        tell("onnxruntime", f"not tried: {error}")
        return
    there = package.get_available_providers()
    wanted = {
        "cuda": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
        "cpu": ["CPUExecutionProvider"],
    }[setting.device.type]
    providers = [provider for provider in wanted if provider in there]
    if not providers:
        tell("onnxruntime on the GPU", f"not tried: this one has {', '.join(there)}")
        return
    images = setting.batches(1)[0][0].cpu().numpy()
    with tempfile.TemporaryDirectory() as folder:
        controller, model = setting.pruned(channel_multiple=8)
        for provider in providers:
            dense_seconds = 0.0
            for name, rate in (("dense", 0.0), ("half", HALF["multiples of 8"])):
                controller.compression_rate = rate
                path = Path(folder) / f"{name}.onnx"
                if not path.exists():
                    export_model(model.eval(), setting.example(), path)
                session = package.InferenceSession(str(path), providers=[provider])
                run = partial(session.run, None, {session.get_inputs()[0].name: images})
                run()
                seconds = statistics.median(setting.seconds(run) for _ in range(setting.steps))
                dense_seconds = dense_seconds or seconds
                told = f"{1e3 * seconds:.1f} ms {seconds / dense_seconds:.3f} x dense"
                tell(f"{session.get_providers()[0]}, {name}", told)


PARTS: dict[str, Callable[[Setting], None]] = {
    "waits": waits,
    "groups and rates": groups_and_rates,
    "training steps": training_steps,
    "search": search_overhead,
    "inference": inference,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script")
    parser.add_argument("--model", default="resnet50", help="of torchvision")
    parser.add_argument("--size", type=int, default=224, help="of the images")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12, help="that are timed together")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=[*PARTS])
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; --device cpu tries the script itself", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    print(
        f"torch {torch.__version__}, Python {sys.version.split()[0]}, {name}: {chosen.model}, "
        f"{chosen.batch} x 3 x {chosen.size} x {chosen.size}; float32 is multiplied by "
        f"{'TF32' if torch.backends.cudnn.allow_tf32 else 'float32'} in convolutions",
        flush=True,
    )
    setting = Setting(device, chosen.size, chosen.batch, chosen.steps, chosen.model)
    parts = Parts()
    began = time.perf_counter()
    for name in chosen.only:
        parts.part(name, partial(PARTS[name], setting))
    print(f"\n{parts.failed} parts failed, {time.perf_counter() - began:.0f} s", flush=True)
    return 1 if parts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
