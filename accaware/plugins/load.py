"""Finding and importing a plugin: ``file.py``, ``package.module``, each with ``:Class``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from accaware.errors import PluginContractError, PluginFailure
from accaware.plugins.contract import contract_faults
from accaware.plugins.plugin import Plugin, guarded
from accaware.plugins.provenance import name_of_object
from accaware.wording import did_you_mean


def load_plugin(
    spec: str, arguments: Mapping[str, Any], directory: Path, config: Any = None
) -> Plugin:
    """Import a plugin and check that it offers what accaware needs.

    Args:
        spec: a Python file or a module's dotted name, each with an optional ``:Class`` (or any
            other callable) that makes the object with the functions.
        arguments: keyword arguments for that class.
        config: handed to a class that has a parameter of this name, unless ``arguments`` has it.
        directory: where a relative file starts; dotted names are also looked for there and in
            the working directory.

    Raises:
        PluginContractError: nothing is there, or functions are missing or ill-formed.
        PluginFailure: the user's module or class raised.
    """
    source, _, factory = spec.rpartition(":") if _names_factory(spec) else (spec, "", "")
    importer = _import_file if source.endswith(".py") else _import_module
    module = importer(source, directory)
    target: Any = module
    takes_config = False
    if factory:
        make = _factory(spec, module, factory)
        target, takes_config = _made(spec, make, factory, arguments, config)
    if arguments and not factory:
        raise PluginContractError(
            f"plugin {spec}: plugin_args are given, but a module takes none; "
            f'name the class that does: "{spec}:YourClass"'
        )
    faults = contract_faults(target)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        hint = "" if factory else _class_hint(spec, module)
        raise PluginContractError(
            f"plugin {spec} doesn't offer what accaware needs:\n{listed}{hint}"
        )
    return Plugin(spec, target, takes_config=takes_config)


def find_classes(specs: Sequence[str], directory: Path) -> list[Any]:
    """What ``file.py:Class`` or ``package.module:Class`` name; each module is imported once.

    Args:
        directory: as for ``load_plugin``.

    Raises:
        PluginContractError: nothing is there.
        PluginFailure: the user's module raised.
    """
    modules: dict[str, ModuleType] = {}
    found = []
    for spec in specs:
        source, _, name = spec.rpartition(":")
        if not _names_factory(spec):
            raise PluginContractError(f"plugin {spec}: it names no class, as in mine.py:Mine")
        if source not in modules:
            importer = _import_file if source.endswith(".py") else _import_module
            modules[source] = importer(source, directory)
        found.append(_factory(spec, modules[source], name))
    return found


def plugin_of(target: Any, arguments: Mapping[str, Any], config: Any = None) -> Plugin:
    """A plugin that was handed over itself, checked as one that is loaded.

    Args:
        target: a module or an object that has the functions, or a class that makes the object.
        arguments: keyword arguments for that class.
        config: handed to a class that has a parameter of this name, unless ``arguments`` has it.

    Raises:
        PluginContractError: functions are missing or ill-formed.
        PluginFailure: the user's class raised.
    """
    name, takes_config = name_of_object(target), False
    if inspect.isclass(target):
        target, takes_config = _made(name, target, target.__name__, arguments, config)
    elif arguments:
        kind = "a module" if inspect.ismodule(target) else "an object that is made already"
        raise PluginContractError(
            f"plugin {name}: plugin_args are given, but {kind} takes none; hand over the class"
        )
    faults = contract_faults(target)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise PluginContractError(f"plugin {name} doesn't offer what accaware needs:\n{listed}")
    return Plugin(name, target, takes_config=takes_config)


def _names_factory(spec: str) -> bool:
    head, colon, tail = spec.rpartition(":")
    return bool(head and colon and tail.isidentifier())


def _class_hint(spec: str, module: ModuleType) -> str:
    """Where the functions are a class's, and the spec forgot to name it."""
    for name, value in vars(module).items():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and not contract_faults(value, bound=False):
            return f'\nits class {name} does: name it "{spec}:{name}"'
    return ""


def _import_file(source: str, directory: Path) -> ModuleType:
    path = (directory / source).resolve()
    if not path.is_file():
        files = [file.name for file in path.parent.glob("*.py")]
        hint = did_you_mean(path.name, files)
        raise PluginContractError(f"plugin {source}: there is no file {path}{hint}")
    # Its neighbours can be imported, as from a script; the name makes its classes picklable.
    _on_path(path.parent)
    name = path.stem
    if getattr(sys.modules.get(name), "__file__", str(path)) != str(path):
        name = f"accaware_plugin_{name}"  # others have imported, and need, what is called so
    loader_spec = importlib.util.spec_from_file_location(name, path)
    assert loader_spec is not None
    assert loader_spec.loader is not None
    module = importlib.util.module_from_spec(loader_spec)
    shadowed = sys.modules.get(name)
    sys.modules[name] = module
    try:
        guarded(f"importing {source}", loader_spec.loader.exec_module, module)
    except BaseException:
        if shadowed is None:
            del sys.modules[name]
        else:
            sys.modules[name] = shadowed
        raise
    return module


def _import_module(name: str, directory: Path) -> ModuleType:
    for folder in (directory, Path.cwd()):
        _on_path(folder.resolve())
    nowhere = PluginContractError(
        f"plugin {name}: there is no module of that name on Python's path; "
        "a file is named with its ending: my_plugin.py"
    )
    if not all(part.isidentifier() for part in name.split(".")):
        raise nowhere
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Which one is missing: the plugin or a package around it, or something that it imports?
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise nowhere from None
        raise PluginFailure(f"importing {name}", error) from error
    except Exception as error:
        raise PluginFailure(f"importing {name}", error) from error


def _on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _factory(spec: str, module: ModuleType, factory: str) -> Callable[..., Any]:
    make = getattr(module, factory, None)
    if callable(make):
        return cast("Callable[..., Any]", make)
    names = [name for name, value in vars(module).items() if callable(value)]
    hint = did_you_mean(factory, names)
    raise PluginContractError(f"plugin {spec}: the module has no class {factory}{hint}")


def _made(
    spec: str,
    make: Callable[..., Any],
    factory: str,
    arguments: Mapping[str, Any],
    config: Any,
) -> tuple[Any, bool]:
    """What the factory makes, and whether it was handed the config."""
    signature: inspect.Signature | None
    try:
        signature = inspect.signature(make)
    except ValueError:
        signature = None  # a built-in: calling it will tell
    known = signature.parameters if signature else {}
    takes_config = "config" in known and "config" not in arguments and config is not None
    passed = {**arguments, "config": config} if takes_config else dict(arguments)

    def misfit(error: BaseException) -> PluginContractError:
        return PluginContractError(
            f"plugin {spec}: plugin_args {dict(arguments)} don't fit {factory}"
            f"{signature or ''}: {error}"
        )

    if signature is not None:
        try:
            signature.bind(**passed)
        except TypeError as error:
            raise misfit(error) from error
    try:
        return guarded(factory, make, **passed), takes_config
    except PluginFailure as failure:
        if _refused_the_call(failure.original):
            raise misfit(failure.original) from failure
        raise


def _refused_the_call(error: BaseException) -> bool:
    """Whether not a line of what was called ran, as for a keyword named ``self``."""
    trace = error.__traceback__
    return isinstance(error, TypeError) and trace is not None and trace.tb_next is None
