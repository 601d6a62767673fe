"""The door: a model to a file that is checked before it gets its name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accaware.errors import RunError, UsageError
from accaware.pytorch.export.comparison.comparison import Compared
from accaware.pytorch.export.comparison.difference import ExportDifference
from accaware.pytorch.export.formats.format import ExportFormat, FormatOptions, Written
from accaware.pytorch.export.formats.onnx import Onnx
from accaware.pytorch.export.formats.openvino import OpenVINO
from accaware.pytorch.export.formats.state_dict import StateDict
from accaware.pytorch.export.formats.torch_export import TorchExport
from accaware.pytorch.export.network.batch_axis import BatchAxis
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.wrappers import eagerly, unwrapped
from accaware.pytorch.training.mixed_precision import full_precision
from accaware.rundir.atomic import naming, sync_folder

FORMATS: Mapping[str, ExportFormat] = {
    each.name: each for each in (Onnx(), TorchExport(), OpenVINO(), StateDict())
}


def export_model(
    model: nn.Module,
    example_inputs: Any,
    path: str | Path,
    *,
    format: str = "onnx",
    opset: int | None = None,
    dynamic_batch: bool | None = None,
    metadata: Mapping[str, str] | None = None,
    check: Callable[[Compared], None] | None = None,
) -> Written:
    """Write a compressed model for deployment, read it back, compare, and only then name it.

    Batch norms are folded into the layers before them. Where quantizers are attached to the
    model, weights are stored as int8 and quantized activations go through integers.

    Args:
        model: as ``create_compressed_model`` or ``load_compressed`` gave it; not touched. What
            torch.compile or DataParallel put around it is left out.
        example_inputs: a tensor, a tuple of positional or a mapping of keyword arguments of its
            forward, batch first.
        path: of the file; an OpenVINO model has its weights beside it, in a ``.bin``.
        format: one of FORMATS.
        opset: of ONNX, 21 or above; None for 21.
        dynamic_batch: whether the file takes batches of any size; None where it can.
        metadata: for the file, where its format has room for such.
        check: runs the file on more than the example inputs, through the ``Compared`` it gets.

    Raises:
        UsageError: an unknown format, or an option that it doesn't have.
        MissingExtraError: a package that the format needs isn't installed; names the extra.
        RunError: the model can't be exported, or the file computes something else; nothing is
            left of it, and an earlier file of that name is intact.
        OSError: the file can't be written, likewise.
    """
    options = FormatOptions(opset=opset, dynamic_batch=dynamic_batch, metadata=metadata or {})
    path = Path(path)
    kind = checked_format(format, path, options)
    model = unwrapped(model)
    own = copied(model).cpu().eval()
    inputs = ExampleInputs.of(example_inputs).on(torch.device("cpu"))
    with naming(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, since a rename is atomic only within a file system.
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = folder / path.with_suffix(kind.suffix).name
        with full_precision(), eagerly():
            written = kind.write(own, inputs, draft, options)
            loaded = kind.read(draft, own, inputs)
        any_batch = written.dynamic_batch
        axis = BatchAxis.of(inputs)
        compared = Compared(own, loaded, axis, any_batch=any_batch, original=model)
        with eagerly():
            _check(compared, inputs, kind, check)
        _name(draft, path, kind)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return written


def format_named(name: str) -> ExportFormat:
    """The format of a name, as the command line and the config call it.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(f"there is no format {name!r}; there is {', '.join(FORMATS)}")
    return FORMATS[name]


def checked_format(name: str, path: Path, options: FormatOptions) -> ExportFormat:
    """The format of that name, if these can be used with it.

    Raises:
        UsageError: there is none, or it doesn't have such an option or such a path.
        MissingExtraError: a package that it needs isn't installed; names the extra.
    """
    kind = format_named(name)
    kind.require()
    kind.check(options)
    if kind.companions and path.suffix != kind.suffix:
        raise UsageError(f"{path}: the name of {name}'s file must end in {kind.suffix}")
    return kind


def files_of(path: Path, kind: ExportFormat) -> list[Path]:
    """All files of an export, the named one first."""
    return [path, *(path.with_suffix(suffix) for suffix in kind.companions)]


def _check(
    compared: Compared,
    inputs: ExampleInputs,
    kind: ExportFormat,
    check: Callable[[Compared], None] | None,
) -> None:
    try:
        compared(*inputs.args, **inputs.kwargs)
        compared.difference.check()
        if check is not None:
            compared.difference = ExportDifference()
            check(compared)
            compared.difference.check()
    except RunError as error:
        raise RunError(f"the {kind.name} file is not what it should be: {error}") from error


def _name(draft: Path, path: Path, kind: ExportFormat) -> None:
    pairs = list(zip(files_of(draft, kind), files_of(path, kind), strict=True))
    # The named file last: where it is, all of it is.
    for source, target in reversed(pairs):
        with naming(target):
            os.replace(source, target)
    sync_folder(path.parent)
