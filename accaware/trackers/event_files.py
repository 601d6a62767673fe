"""TensorBoard's event files: what a folder's hold, and one to append to.

Written with what tensorboard itself is made of: without a thread, which a fork would not take
along, and without TensorFlow or torch.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from accaware.extras import import_extra

SESSION_START = "_hparams_/session_start_info"
SESSION_END = "_hparams_/session_end_info"
"""Tags that TensorBoard knows."""

_FILES = itertools.count()


def check_installed() -> None:
    """See that tensorboard can be used.

    Raises:
        MissingExtraError: it isn't installed.
    """
    import_extra("tensorboard", "tensorboard")


class EventFiles:
    """The event files of one folder, of which TensorBoard makes one run.

    Each object has a file of its own to append to: behind a record that another one tore nobody
    would read.

    Attributes:
        held: the tags and steps that are in the files.
    """

    def __init__(self, folder: Path) -> None:
        self._proto = _module("compat.proto.event_pb2")
        # The form that TensorBoard knows; it reads a folder's files in the order of their names.
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_FILES)}"
        self._path = folder / f"events.out.tfevents.{name}"
        files = sorted(folder.glob("*tfevents*"))
        self.held = {held for file in files for held in self._read(file)}

    def append(self, values: Iterable[tuple[Any, int, float]]) -> None:
        """Append values, each with its step and its time; none may be held already.

        Raises:
            OSError: they can't be written; this object is not to be used any more.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = not self._path.exists()
        with self._path.open("ab") as file:
            writer = _module("summary.writer.record_writer").RecordWriter(file)
            if new:
                first = self._proto.Event(wall_time=time.time(), file_version="brain.Event:2")
                writer.write(first.SerializeToString())
            for value, step, when in values:
                event = self._proto.Event(wall_time=when, step=step)
                event.summary.value.add().CopyFrom(value)
                writer.write(event.SerializeToString())
                self.held.add((value.tag, step))

    def _read(self, file: Path) -> Iterator[tuple[str, int]]:
        """The values of a file, up to its end or to where it is torn."""
        errors = _module("compat.tensorflow_stub.errors")
        records = _module("compat.tensorflow_stub.pywrap_tensorflow").PyRecordReader_New(str(file))
        try:
            while True:
                records.GetNext()
                event = self._proto.Event.FromString(records.record())
                for value in event.summary.value:
                    yield value.tag, event.step
        except (errors.OutOfRangeError, errors.DataLossError):
            return
        finally:
            records.file_handle.close()


def scalar(tag: str, value: float) -> Any:
    """A number of a curve."""
    metadata = _module("plugins.scalar.metadata").create_summary_metadata(tag, "")
    return _value(tag, metadata, _tensor(value, "float32"))


def text(tag: str, markdown: str) -> Any:
    """A text."""
    metadata = _module("plugins.text.metadata").create_summary_metadata(tag, "")
    return _value(tag, metadata, _tensor(markdown.encode(), "object"))


def bars(tag: str, heights: Sequence[float]) -> Any:
    """A histogram with a bucket of width 1 for each number, which is how much is in it."""
    metadata = _module("plugins.histogram.metadata").create_summary_metadata(tag, "")
    buckets = [[at, at + 1, height] for at, height in enumerate(heights)]
    return _value(tag, metadata, _tensor(buckets, "float64"))


def session_start(name: str, params: Mapping[str, str | float], began: float) -> Any:
    """The hyperparameters of a trial."""
    info = _module("plugins.hparams.plugin_data_pb2").SessionStartInfo(
        group_name=name, start_time_secs=began
    )
    for key, value in params.items():
        if isinstance(value, str):
            info.hparams[key].string_value = value
        else:
            info.hparams[key].number_value = value
    return _session(SESSION_START, session_start_info=info)


def session_end(*, succeeded: bool, ended: float) -> Any:
    """A trial's end, and whether it came to a verdict."""
    status = _module("plugins.hparams.api_pb2").Status
    info = _module("plugins.hparams.plugin_data_pb2").SessionEndInfo(
        status=status.Value("STATUS_SUCCESS" if succeeded else "STATUS_FAILURE"),
        end_time_secs=ended,
    )
    return _session(SESSION_END, session_end_info=info)


def _session(tag: str, **info: Any) -> Any:
    hparams = _module("plugins.hparams.metadata")
    data = _module("plugins.hparams.plugin_data_pb2").HParamsPluginData(**info)
    return _value(tag, hparams.create_summary_metadata(data), hparams.NULL_TENSOR)


def _value(tag: str, metadata: Any, tensor: Any) -> Any:
    return _module("compat.proto.summary_pb2").Summary.Value(
        tag=tag, metadata=metadata, tensor=tensor
    )


def _tensor(content: Any, dtype: str) -> Any:
    import numpy  # comes with tensorboard

    return _module("util.tensor_util").make_tensor_proto(numpy.array(content, dtype=dtype))


def _module(name: str) -> Any:
    return import_module(f"tensorboard.{name}")
