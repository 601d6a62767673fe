"""One model from its weights to files of it, pruned, and judged after each step."""

from __future__ import annotations

import re
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accaware import AccAwareConfig
from accaware.errors import AccAwareError, CompressionError
from accaware.pytorch import (
    PTCompressionController,
    create_compressed_model,
    export_model,
    load_compressed,
    save_compressed,
)
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.channels.layout import ExcludedLayer, KeptMasks
from accaware.pytorch.model.copies import copied, copy_in, copy_without_values
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import output_tensors, same_bits
from library_coverage.candidate import Candidate
from library_coverage.reference import (
    DOUBLE,
    SINGLE,
    SinglePrecision,
    difference,
    in_double,
    masked,
    output_of,
    rounded,
)
from library_coverage.row import RIGHT, Row

RATE = 0.3
_SPARSE = 0.5
_ROUNDINGS = 100
"""How many times as far apart as one rounding error makes them two models may be."""
_UNTOLD = "untold"
"""Nothing can be said: the dense model itself doesn't, or gives other numbers each time."""

_PRUNING = {
    "algorithm": "filter_pruning",
    "params": {"prune_first_conv": True, "prune_downsample_convs": True},
}
_QUANTIZATION = {
    "algorithm": "quantization",
    "initializer": {"range": {"num_init_samples": 2}},
}


def _config(section: dict[str, Any]) -> AccAwareConfig:
    search = {
        "mode": "early_exit",
        "params": {"maximal_absolute_accuracy_degradation": 1, "maximal_total_epochs": 200},
    }
    return AccAwareConfig.from_dict({"accuracy_aware_training": search, "compression": section})


class Examination:
    """Of one candidate.

    Args:
        tell: gets the row whenever more is known.
        everything: whether it is exported, made sparse and quantized too, which takes longest.
    """

    def __init__(
        self, name: str, candidate: Candidate, tell: Callable[[Row], None], *, everything: bool
    ) -> None:
        self._candidate = candidate
        self._tell = tell
        self._everything = everything
        self._began = time.process_time()
        self.row = Row(name)

    def run(self) -> Row:
        """All of it."""
        self._pruned()
        if self._everything:
            self._stage("sparse", self._sparsify)
            self._stage("int8", self._quantize)
        self._note()
        return self.row

    def _pruned(self) -> None:
        model = self._candidate.build()
        controller = self._controller(model)
        if controller is None:
            return
        self._prune(model, controller)
        kept = controller.algorithm.kept_masks()
        del controller  # and the dense tensors with it
        self._compare(model, kept)
        self._stage("step", lambda: self._train(model))
        self._stage("file", lambda: self._reload(model, kept))
        if self._everything:
            self._stage("onnx", lambda: self._export(model))

    def _note(self) -> None:
        self.row.seconds = time.process_time() - self._began
        self._tell(self.row)

    def _stage(self, name: str, judge: Callable[[], str]) -> None:
        try:
            told = judge()
        except AccAwareError as error:
            told = f"refused: {error}"
        except Exception as error:
            if _out_of_memory(error):
                raise
            told = f"TRACEBACK: {type(error).__name__}: {error}"
            self.row.traces[name] = traceback.format_exc(limit=-8)
        self.row.stages[name] = told[:2000]
        self._note()

    def _controller(self, model: nn.Module) -> PTCompressionController | None:
        row, inputs = self.row, self._candidate.one
        excluded: Sequence[ExcludedLayer] = ()
        try:
            began = time.process_time()
            excluded = find_dependencies(model, inputs).excluded
            row.finding = time.process_time() - began
            controller, _ = create_compressed_model(model, _config(_PRUNING), inputs)
        except CompressionError as error:
            row.refused = str(error)
            with suppress(Exception):  # it may not even run, and then nothing can be counted
                flops = self._flops(model)
                self._count_left_alone(model, excluded, flops)
                row.flops, row.left_alone = (flops.dense, flops.dense), 1.0
            return None
        row.creating = time.process_time() - began - row.finding
        return controller

    def _prune(self, model: nn.Module, controller: PTCompressionController) -> None:
        row, flops = self.row, self._flops(model)
        dense = sum(parameter.numel() for parameter in model.parameters())
        self._count_left_alone(model, controller.excluded, flops)
        controller.compression_rate = RATE
        row.rate = controller.compression_rate
        shapes = {key: tensor.shape for key, tensor in tensors_of(model).items()}
        row.parameters = (dense, sum(parameter.numel() for parameter in model.parameters()))
        row.flops = (flops.dense, flops.count(shapes))
        self._note()

    def _count_left_alone(
        self, model: nn.Module, excluded: Sequence[ExcludedLayer], flops: FlopsModel
    ) -> None:
        row, costs = self.row, {}
        for name, module in model.named_modules():
            if name in flops.by_layer and _is_layer(module, name, flops):
                costs[name] = flops.by_layer[name]
        whole = sum(costs.values()) or 1
        longest_first = map(re.escape, sorted(_names(model), key=len, reverse=True))
        names = re.compile(rf"(?<![\w.])(?:{'|'.join(longest_first)})(?!\w)")
        for entry in excluded:
            share = costs.get(entry.layer, 0) / whole
            reason = re.sub(r"\d+", "N", names.sub("<layer>", entry.reason))
            count, weight = row.reasons.get(reason, (0, 0.0))
            row.reasons[reason] = (count + 1, weight + share)
            row.left_alone += share

    def _flops(self, model: nn.Module) -> FlopsModel:
        """At the published size where that works without values, else at the small one."""
        if self._candidate.published is not None:
            make, inputs = self._candidate.published
            meta = torch.device("meta")
            with suppress(Exception), torch.no_grad():
                with meta:
                    shapes = make().eval()
                shapes = copy_without_values(shapes)
                return FlopsModel(shapes, inputs.on(meta))
        return FlopsModel(model, self._candidate.one)

    def _compare(self, model: nn.Module, kept: KeptMasks) -> None:
        inputs, larger = self._candidate.inputs, self._candidate.larger
        try:
            compact = copy_in(model, torch.float64)
            output_of(copied(compact), in_double(inputs))
            dtype = torch.float64
        except Exception:  # noqa: BLE001 - a model that isn't made for double precision
            dtype = torch.float32
        if dtype == torch.float64:
            inputs = in_double(inputs)
            larger = None if larger is None else in_double(larger)

        pairs: dict[bool, tuple[nn.Module, nn.Module]] = {}

        def pair(*, readers: bool) -> tuple[nn.Module, nn.Module]:
            """Compact and masked; the same ones for every question."""
            if readers not in pairs:
                reference = copy_in(self._candidate.build(), dtype)
                pairs[readers] = copy_in(model, dtype), masked(reference, kept, readers=readers)
                for each in pairs[readers]:
                    _without_chance(each)
            return pairs[readers]

        def judged(inputs: ExampleInputs, *, training: bool = False) -> str:
            found = []
            # What is missing is zero; where that isn't enough, nobody reads it, either.
            for readers in (False, True):
                compact, reference = pair(readers=readers)
                compact.train(training)
                reference.train(training)
                with SinglePrecision() as single:
                    try:
                        theirs = output_of(reference, inputs)
                    except Exception as error:  # noqa: BLE001 - it isn't ours
                        return f"{_UNTOLD}: the dense model fails: {error}"
                if training and difference(output_of(reference, inputs, number=1), theirs) > DOUBLE:
                    return f"{_UNTOLD}: training isn't repeatable"
                exact = dtype == torch.float64 and not single.met
                found.append(difference(output_of(compact, inputs), theirs))
                if found[-1] <= (DOUBLE if exact else SINGLE):
                    return RIGHT
            moved = difference(output_of(reference, rounded(inputs)), theirs)
            if exact and min(found) <= _ROUNDINGS * moved:
                return f"{_UNTOLD}: a rounding of its inputs moves the dense model by {moved:.1e}"
            return f"WRONG: compact and masked differ by {min(found):.1e}"

        self._stage("eval", lambda: judged(inputs))
        if larger is not None:
            self._stage("larger", lambda: judged(larger))
        # Last, as it changes batch norm statistics.
        self._stage("training", lambda: judged(inputs, training=True))

    def _train(self, model: nn.Module) -> str:
        model = copied(model).train()  # of what a step makes of it nothing else is to be told
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        outputs = [
            tensor
            for tensor in output_tensors(self._candidate.inputs.call(model))
            if tensor.is_floating_point() and tensor.requires_grad
        ]
        if not outputs:
            return f"{_UNTOLD}: no output has a gradient"
        loss = torch.stack([tensor.square().mean() for tensor in outputs]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if not torch.isfinite(loss):
            return f"{_UNTOLD}: a loss of {float(loss)}"
        finite = all(bool(each.isfinite().all()) for each in model.parameters())
        return RIGHT if finite else f"{_UNTOLD}: weights that aren't finite"

    def _reload(self, model: nn.Module, kept: KeptMasks) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pt"
            save_compressed(model, kept, path)
            fresh = load_compressed(path, self._candidate.build())
        mine, theirs = (
            output_of(copied(each).eval(), self._candidate.inputs) for each in (model, fresh)
        )
        same = len(mine) == len(theirs) and all(map(same_bits, mine, theirs))
        return RIGHT if same else "WRONG: the loaded model computes something else"

    def _export(self, model: nn.Module) -> str:
        with tempfile.TemporaryDirectory() as folder:
            written = export_model(model, self._candidate.one.kwargs or self._candidate.one.args,
                                   Path(folder) / "model.onnx")  # fmt: skip
        return RIGHT if written.dynamic_batch else f"{_UNTOLD}: equal, for one batch size alone"

    def _sparsify(self) -> str:
        model = self._candidate.build()
        config = _config({"algorithm": "magnitude_sparsity"})
        controller, _ = create_compressed_model(model, config, self._candidate.one)
        controller.compression_rate = _SPARSE
        if abs(controller.compression_rate - _SPARSE) > 0.01:
            return f"WRONG: {controller.compression_rate:.1%} are zero, not {_SPARSE:.0%}"
        return self._finite(model)

    def _quantize(self) -> str:
        model = self._candidate.build()
        inputs = self._candidate.inputs
        batch = inputs.kwargs or (*inputs.args, torch.zeros(2, dtype=torch.long))
        controller, _ = create_compressed_model(
            model, _config(_QUANTIZATION), self._candidate.one, [batch]
        )
        controller.compression_rate = controller.maximal_compression_rate
        if not controller.quantizers():
            return "WRONG: nothing is quantized"
        return self._finite(model)

    def _finite(self, model: nn.Module) -> str:
        outputs = output_of(model.eval(), self._candidate.inputs)
        dense = output_of(self._candidate.build(), self._candidate.inputs)
        if all(bool(tensor.isfinite().all()) for tensor in outputs):
            return RIGHT
        if not all(bool(tensor.isfinite().all()) for tensor in dense):
            return f"{_UNTOLD}: the dense model doesn't give numbers"
        return "WRONG: its outputs are no numbers"


def _names(model: nn.Module) -> list[str]:
    """Those that aren't words as well, as ``model`` and ``norm`` are."""
    return [name for name, _ in model.named_modules() if "." in name] or ["\0"]


def _is_layer(module: nn.Module, name: str, flops: FlopsModel) -> bool:
    """Whether a module multiplies by a matrix of its own, and isn't made of such."""
    own = any(parameter.dim() > 1 for parameter in module.parameters())
    inner = any(
        f"{name}.{key}".lstrip(".") in flops.by_layer
        for key, part in module.named_modules()
        if key and any(parameter.dim() > 1 for parameter in part.parameters())
    )
    return own and not inner


def _without_chance(model: nn.Module) -> None:
    """No paths are dropped: the two models would draw other numbers."""
    for module in model.modules():
        for key in ("p", "drop_prob", "drop_rate", "dropout_p"):
            if isinstance(getattr(module, key, None), float):
                setattr(module, key, 0.0)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "allocate memory" in str(error)
