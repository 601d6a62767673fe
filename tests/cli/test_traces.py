"""Users see their own frames."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.user_traceback import trace_of
from accaware.errors import PluginFailure
from accaware.search.schedules.schedules import MultiStep


def _module(path: Path, source: str) -> ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def library(tmp_path: Path) -> ModuleType:
    """Installed code that calls back, as torch does."""
    source = "def call(function):\n    return function()\n"
    return _module(tmp_path / "site-packages" / "library.py", source)


def _raised(action: Callable[[], object]) -> BaseException:
    """What ``action`` raises, without the frames of this file, which are no library's."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any will do
        action()
    trace = raised.value.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return raised.value.with_traceback(trace)


USER = """\
import json

def outer():
    return inner()

def inner():
    return json.loads("{")

def chained():
    try:
        inner()
    except ValueError as error:
        raise RuntimeError("no data") from error
"""


def test_frames_above_the_users_go_and_those_below_stay(
    tmp_path: Path, library: ModuleType
) -> None:
    user = _module(tmp_path / "plugin.py", USER)
    text = trace_of(_raised(lambda: library.call(user.outer)))
    assert "library.py" not in text
    assert text.index("in outer") < text.index("in inner") < text.index("json/decoder.py")
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith(
        "JSONDecodeError: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)\n"
    )


def test_causes_are_shown_with_their_frames(tmp_path: Path, library: ModuleType) -> None:
    user = _module(tmp_path / "plugin.py", USER)
    text = trace_of(_raised(lambda: library.call(user.chained)))
    assert "library.py" not in text
    assert "The above exception was the direct cause" in text
    assert text.index("JSONDecodeError") < text.index("RuntimeError: no data")


def test_frames_of_ours_and_of_the_standard_library_are_not_the_users() -> None:
    ours = _raised(lambda: MultiStep((), ()).level(0))
    assert "schedules.py" in trace_of(ours)
    theirs = _raised(lambda: json.loads("{"))
    assert "decoder.py" in trace_of(theirs)


def test_a_plugin_failure_is_a_message_the_users_frames_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], library: ModuleType
) -> None:
    user = _module(tmp_path / "plugin.py", USER)

    original = _raised(lambda: library.call(user.outer))

    def action() -> ExitCode:
        raise PluginFailure("create_model", original)

    assert reported(action) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "error: create_model failed"
    assert f'File "{tmp_path / "plugin.py"}", line 4, in outer' in lines[2]
    assert "accaware" not in shown.err.replace(str(tmp_path), "")
