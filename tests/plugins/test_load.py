"""Plugins: where they are found, what they must offer, and whose an exception is."""

from __future__ import annotations

import importlib
import linecache
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accaware.errors import PluginContractError, PluginFailure
from accaware.plugins.load import load_plugin
from accaware.plugins.plugin import Plugin
from accaware.plugins.provenance import Provenance

WHOLE = """
def create_model(): return "a model"
def create_datasets(): return [1], [2]
"""
CLASS = """
class Mine:
    def __init__(self, width=3, *, deep=False): self.width, self.deep = width, deep
    def create_model(self): return self.width, self.deep
    def create_dataloaders(self): return [1], [2]
"""


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports is gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    importlib.invalidate_caches()
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def written(folder: Path, text: str, name: str = "my_plugin.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder


def fault(spec: str, folder: Path, **arguments: Any) -> str:
    with pytest.raises(PluginContractError) as raised:
        load_plugin(spec, arguments, folder)
    return str(raised.value)


# Finding ---------------------------------------------------------------------------------------


def test_a_file_relative_to_the_config(tmp_path: Path) -> None:
    plugin = load_plugin("my_plugin.py", {}, written(tmp_path, WHOLE))
    assert plugin.call("create_model") == "a model"
    assert plugin.offers("create_datasets")
    assert not plugin.offers("validate")


def test_an_absolute_file(tmp_path: Path) -> None:
    file = written(tmp_path / "elsewhere", WHOLE) / "my_plugin.py"
    assert load_plugin(str(file), {}, tmp_path).call("create_model") == "a model"


@pytest.mark.parametrize(
    ("arguments", "made"),
    [({}, (3, False)), ({"width": 5}, (5, False)), ({"width": 5, "deep": True}, (5, True))],
)
def test_a_class_in_a_file_with_arguments(
    tmp_path: Path, arguments: dict[str, Any], made: tuple[int, bool]
) -> None:
    plugin = load_plugin("my_plugin.py:Mine", arguments, written(tmp_path, CLASS))
    assert plugin.call("create_model") == made


def test_a_function_may_make_the_object(tmp_path: Path) -> None:
    text = CLASS + "\ndef make(width): return Mine(width + 1)\n"
    plugin = load_plugin("my_plugin.py:make", {"width": 1}, written(tmp_path, text))
    assert plugin.call("create_model") == (2, False)


@pytest.mark.parametrize("spec", ["package.inner", "package.inner:Mine"])
def test_a_module_beside_the_config(tmp_path: Path, spec: str) -> None:
    written(tmp_path, "", "package/__init__.py")
    written(tmp_path, WHOLE + CLASS, "package/inner.py")
    assert isinstance(load_plugin(spec, {}, tmp_path), Plugin)


def test_a_module_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written(tmp_path / "here", WHOLE, "worked_on.py"))
    assert load_plugin("worked_on", {}, tmp_path).call("create_model") == "a model"


def test_a_module_that_is_imported_already(tmp_path: Path) -> None:
    module = type(sys)("made_by_hand")
    exec(WHOLE, vars(module))
    sys.modules["made_by_hand"] = module
    assert load_plugin("made_by_hand", {}, tmp_path).call("create_model") == "a model"


def test_a_plugins_neighbours_can_be_imported(tmp_path: Path) -> None:
    written(tmp_path, "answer = 42", "its_neighbour.py")
    written(tmp_path, "import its_neighbour\n" + WHOLE)
    assert load_plugin("my_plugin.py", {}, tmp_path).offers("create_model")


def test_its_classes_can_be_pickled(tmp_path: Path) -> None:
    import pickle

    text = CLASS + "\nclass Sample: pass\nMine.sample = lambda self: Sample()\n"
    plugin = load_plugin("my_plugin.py:Mine", {}, written(tmp_path, text))
    assert type(pickle.loads(pickle.dumps(plugin.call("sample")))).__name__ == "Sample"


def test_two_files_of_one_name_are_two_plugins(tmp_path: Path) -> None:
    for name in ("first", "second"):
        written(tmp_path / name, WHOLE.replace("a model", name))
    first, second = (
        load_plugin("my_plugin.py", {}, tmp_path / name) for name in ("first", "second")
    )
    assert (first.call("create_model"), second.call("create_model")) == ("first", "second")


def test_a_file_called_like_a_library_takes_nothing_away(tmp_path: Path) -> None:
    plugin = load_plugin("json.py", {}, written(tmp_path, WHOLE, "json.py"))
    assert plugin.call("create_model") == "a model"
    assert importlib.import_module("json").loads("[1]") == [1]


def test_loading_needs_no_torch(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from accaware.plugins.load import load_plugin
load_plugin("my_plugin.py:Mine", {{"width": 4}}, Path({str(written(tmp_path, CLASS))!r}))
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Not finding -----------------------------------------------------------------------------------


def test_a_missing_file_with_a_suggestion(tmp_path: Path) -> None:
    message = fault("my_plugins.py", written(tmp_path, WHOLE))
    assert f"no file {tmp_path / 'my_plugins.py'}" in message
    assert "did you mean my_plugin.py?" in message
    assert "did you mean" not in fault("other.py", tmp_path)
    assert "no file" in fault("no/such/folder/my_plugin.py", tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.at.all", "my_plugin.inner", "..x", "a b"])
def test_a_missing_module(tmp_path: Path, name: str) -> None:
    message = fault(name, written(tmp_path, WHOLE))
    assert f"plugin {name}: there is no module of that name" in message
    assert "my_plugin.py" in message


def test_a_missing_class_with_a_suggestion(tmp_path: Path) -> None:
    message = fault("my_plugin.py:Mien", written(tmp_path, CLASS))
    assert message.endswith("has no class Mien; did you mean Mine?")


def test_a_class_that_was_not_named(tmp_path: Path) -> None:
    message = fault("my_plugin.py", written(tmp_path, CLASS))
    assert 'its class Mine does: name it "my_plugin.py:Mine"' in message


@pytest.mark.parametrize("arguments", [{"widht": 3}, {"width": 1, "height": 2}])
def test_arguments_that_do_not_fit_the_class(tmp_path: Path, arguments: dict[str, Any]) -> None:
    message = fault("my_plugin.py:Mine", written(tmp_path, CLASS), **arguments)
    assert "don't fit Mine(width=3, *, deep=False)" in message
    assert str(arguments) in message


def test_a_class_whose_arguments_are_missing(tmp_path: Path) -> None:
    text = CLASS.replace("width=3", "width")
    assert "missing a required argument: 'width'" in fault(
        "my_plugin.py:Mine", written(tmp_path, text)
    )


def test_arguments_for_a_module(tmp_path: Path) -> None:
    message = fault("my_plugin.py", written(tmp_path, WHOLE), width=3)
    assert 'a module takes none; name the class that does: "my_plugin.py:YourClass"' in message


# The contract ----------------------------------------------------------------------------------


FAULTS = """
plugin my_plugin.py doesn't offer what accaware needs:
  missing: create_model() -> nn.Module
  missing: create_datasets() -> (train, validation) or \
create_dataloaders() -> (train_loader, validation_loader)
  not a function: create_dataloaders; \
it should be create_dataloaders() -> (train_loader, validation_loader)
  wrong arguments: train_epoch(model, loader); \
it should be train_epoch(model, train_loader, optimizer, compression) -> float | None
  wrong arguments: validate(model); it should be validate(model, validation_loader) -> float
  wrong arguments: configure_optimizers(); \
it should be configure_optimizers(model) -> Optimizer | (Optimizer, scheduler)
  not a function: loss; it should be loss(outputs, targets) -> Tensor
  wrong arguments: example_inputs(batch); it should be example_inputs() -> Tensor | tuple | dict
"""


def test_every_fault_is_in_one_error_with_the_signature_it_should_have(tmp_path: Path) -> None:
    text = """
create_dataloaders = 3
def train_epoch(model, loader): ...
def validate(model): ...
def configure_optimizers(): ...
loss = "cross entropy"
def example_inputs(batch): ...
"""
    message = fault("my_plugin.py", written(tmp_path, text))
    assert message == FAULTS.strip()


@pytest.mark.parametrize(
    "definition",
    [
        "def train_epoch(model, data, optimizer, compression): ...",
        "def train_epoch(net, batches, opt, comp, log=None): ...",
        "def train_epoch(*args): ...",
        "def train_epoch(model, *rest, **more): ...",
        "train_epoch = lambda m, d, o, c: 0.5",
        "import functools\ntrain_epoch = functools.partial(lambda x, m, d, o, c: 0.5, 1)",
        "class T:\n    def __call__(self, m, d, o, c): ...\ntrain_epoch = T()",
        "train_epoch = None",
    ],
)
def test_anything_that_can_be_called_so_is_a_function(tmp_path: Path, definition: str) -> None:
    folder = written(tmp_path, WHOLE + definition)
    assert isinstance(load_plugin("my_plugin.py", {}, folder), Plugin)


def test_a_classes_static_and_inherited_functions_count(tmp_path: Path) -> None:
    text = CLASS + (
        "\nclass Child(Mine):\n    @staticmethod\n    def loss(outputs, targets): ...\n"
        "    @classmethod\n    def validate(cls, model, loader): ...\n"
    )
    plugin = load_plugin("my_plugin.py:Child", {}, written(tmp_path, text))
    assert plugin.offers("loss")
    assert plugin.offers("create_model")


KEYWORDS = """
class Mine:
    def __init__(self, **given):
        self.given = given
    def create_model(self): return self.given
    def create_datasets(self): ...
"""


@pytest.mark.parametrize(
    "name", ["name", "function", "arguments", "keywords", "spec", "make", "factory", "directory"]
)
def test_an_argument_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path, KEYWORDS)
    plugin = load_plugin("my_plugin.py:Mine", {name: 1}, folder, config="the config")
    assert plugin.call("create_model") == {name: 1}


def test_an_argument_of_the_constructors_own_name_is_told_in_a_sentence(tmp_path: Path) -> None:
    folder = written(tmp_path, KEYWORDS)
    message = fault("my_plugin.py:Mine", folder, self=1)
    assert "plugin_args {'self': 1} don't fit Mine" in message
    assert "multiple values for argument 'self'" in message


def test_a_type_error_within_the_constructor_is_the_users(tmp_path: Path) -> None:
    text = KEYWORDS.replace("self.given = given", "len(3)")
    with pytest.raises(PluginFailure) as raised:
        load_plugin("my_plugin.py:Mine", {"size": 3}, written(tmp_path, text))
    assert isinstance(raised.value.original, TypeError)


# The user's exceptions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "text", "kind", "function"),
    [
        ("p.py", "1 / 0", ZeroDivisionError, "importing p.py"),
        ("p.py", "def broken(:", SyntaxError, "importing p.py"),
        ("p.py", "import no_such_library", ModuleNotFoundError, "importing p.py"),
        ("p", "1 / 0", ZeroDivisionError, "importing p"),
        ("p", "import no_such_library", ModuleNotFoundError, "importing p"),
        ("p.py:P", "class P:\n    def __init__(self): 1 / 0", ZeroDivisionError, "P"),
    ],
)
def test_an_exception_while_loading_is_the_users(
    tmp_path: Path, spec: str, text: str, kind: type[Exception], function: str
) -> None:
    with pytest.raises(PluginFailure) as raised:
        load_plugin(spec, {}, written(tmp_path, text, "p.py"))
    assert isinstance(raised.value.original, kind)
    assert raised.value.function == function
    if function.startswith("importing"):
        assert "p" not in sys.modules


def test_an_exception_in_the_package_around_the_plugin_is_the_users(tmp_path: Path) -> None:
    written(tmp_path, "raise RuntimeError('no licence')", "package/__init__.py")
    written(tmp_path, WHOLE, "package/inner.py")
    with pytest.raises(PluginFailure, match="no licence"):
        load_plugin("package.inner", {}, tmp_path)


def test_an_exception_in_a_function_is_held(tmp_path: Path) -> None:
    text = WHOLE + "\ndef validate(model, loader): raise KeyError('top1')\n"
    plugin = load_plugin("my_plugin.py", {}, written(tmp_path, text))
    with pytest.raises(PluginFailure, match="validate raised KeyError") as raised:
        plugin.call("validate", None, None)
    assert isinstance(raised.value.original, KeyError)
    assert raised.value.__cause__ is raised.value.original


def test_errors_that_are_meant_for_the_user_go_through_as_they_are(tmp_path: Path) -> None:
    text = WHOLE + (
        "\nfrom accaware.errors import PluginContractError\n"
        "def validate(model, loader): raise PluginContractError('scikit-learn is needed')\n"
    )
    plugin = load_plugin("my_plugin.py", {}, written(tmp_path, text))
    with pytest.raises(PluginContractError, match=r"^scikit-learn is needed$"):
        plugin.call("validate", None, None)


# Handed over -----------------------------------------------------------------------------------


def test_a_class_that_is_handed_over_is_known_by_its_own_lines(tmp_path: Path) -> None:
    digests = []
    for at, text in enumerate((CLASS, f"x = 1\n{CLASS}", CLASS.replace("[1]", "[3]"))):
        sys.path.insert(0, str(written(tmp_path, text, f"mine_{at}.py")))
        mine = importlib.import_module(f"mine_{at}").Mine
        digests.append(Provenance.of_object(mine()).digest)
    assert digests[0] == digests[1] != digests[2]


def test_what_was_typed_into_an_interpreter_has_functions_alone() -> None:
    """As a notebook has it: a line cache for code, and no file behind the class's module."""
    digests = []
    for at, text in enumerate((CLASS, CLASS, CLASS.replace("[1]", "[3]"))):
        name = f"<cell {at}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        space: dict[str, Any] = {"__name__": "typed"}
        exec(compile(text, name, "exec"), space)
        digests.append(Provenance.of_object(space["Mine"]).digest)
    assert digests[0] == digests[1] != digests[2]
    bare: dict[str, Any] = {"__name__": "typed"}
    exec(CLASS, bare)
    assert Provenance.of_object(bare["Mine"]) == Provenance(None, None)
