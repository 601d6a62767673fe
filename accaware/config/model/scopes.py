"""What a pattern of ``ignored_scopes`` or ``target_scopes`` means, as text alone.

A pattern is one of

- a module's path such as ``layer1.0.conv1``, which means that module and all within it,
- a glob on paths such as ``layer?.*.conv1``,
- an NNCF scope such as ``ResNet/Sequential[layer1]/BasicBlock[0]/NNCFConv2d[conv1]/conv2d_0``:
  the names in brackets are the path. With an operation at its end it means that module alone,
- a regular expression behind ``{re}``. One with a slash or a bracket to match, as only NNCF's
  spelling of a module has them, is searched in that spelling, as NNCF does; any other must match
  the whole path.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

REGEX = "{re}"

_ELEMENT = re.compile(r"[^/\[\]]+\[([^\[\]]+)\]")
_OPERATION = re.compile(r"\w+")
_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module"}
_WRAPPERS["NNCFNetwork"] = "nncf_module"
_NNCFS_OWN = "NNCF"
"""What NNCF puts before the class of a layer that it wraps."""

_OPERATIONS = {
    **{f"Conv{n}d": f"conv{n}d" for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": f"conv_transpose{n}d" for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": "batch_norm" for n in (1, 2, 3)},
    "Linear": "linear",
    "Embedding": "embedding",
    "EmbeddingBag": "embedding_bag",
    "GroupNorm": "group_norm",
    "LayerNorm": "layer_norm",
}
"""The layers that NNCF wraps, and the operation that each does."""


def matches(pattern: str, path: str, class_names: Sequence[str]) -> bool:
    """Whether ``pattern`` means the module at ``path``.

    Args:
        pattern: as above.
        path: names joined by dots, as ``named_modules`` has it.
        class_names: of the model, of each module on the way, and of the module itself.

    Raises:
        re.error: the pattern is no regular expression; ``pattern_fault`` says so beforehand.
    """
    if pattern.startswith(REGEX):
        regex = re.compile(pattern.removeprefix(REGEX))
        if not _is_nncfs(regex.pattern):
            return regex.fullmatch(path) is not None
        return any(regex.search(spelling) for spelling in spellings(path, class_names))
    scope = _nncf_scope(pattern)
    if scope is None:
        return path == pattern or path.startswith(f"{pattern}.") or fnmatchcase(path, pattern)
    meant, alone = scope
    return path == meant or (not alone and path.startswith(f"{meant}."))


def class_lineage(classes: Mapping[str, str], path: str) -> tuple[str, ...]:
    """The ``class_names`` of the module at ``path``.

    Args:
        classes: the class of every module by its path; the model's own path is empty.
    """
    parts = path.split(".") if path else []
    return tuple(classes[".".join(parts[:end])] for end in range(len(parts) + 1))


def spellings(path: str, class_names: Sequence[str]) -> Iterator[str]:
    """How NNCF may write a module: with its own class names and not, with an operation and not."""
    model, *classes = class_names
    names = path.split(".") if path else []
    elements = [f"{of}[{name}]" for of, name in zip(classes, names, strict=True)]
    plain = "/".join([model, *elements])
    yield plain
    operation = _OPERATIONS.get(class_names[-1]) if elements else None
    if operation is None:
        return
    wrapped = "/".join([model, *elements[:-1], f"{_NNCFS_OWN}{elements[-1]}"])
    yield wrapped
    yield f"{plain}/{operation}_0"
    yield f"{wrapped}/{operation}_0"


def pattern_fault(pattern: str) -> str | None:
    """Why ``pattern`` can't be used; None if it can."""
    if not pattern.startswith(REGEX):
        return None
    try:
        with warnings.catch_warnings():  # a pattern of dubious style is a pattern
            warnings.simplefilter("ignore")
            re.compile(pattern.removeprefix(REGEX))
    except re.error as error:
        return f"is not a regular expression: {error}"
    except (OverflowError, RecursionError):
        return "is too large for a regular expression"
    return None


@lru_cache(maxsize=1024)
def _nncf_scope(pattern: str) -> tuple[str, bool] | None:
    """The path, and whether that module alone is meant; None if it isn't NNCF's spelling."""
    model, slash, rest = pattern.partition("/")
    if not slash or "[" in model:
        return None
    *inner, last = rest.split("/")
    found = [_ELEMENT.fullmatch(one) for one in inner]
    end = _ELEMENT.fullmatch(last)
    if end is None and not _OPERATION.fullmatch(last):
        return None
    names = [one[1] for one in (*found, end) if one is not None]
    if len(names) < len(inner):
        return None
    if names and _WRAPPERS.get(model) == names[0]:
        names = names[1:]
    return ".".join(names), end is None


def _is_nncfs(regex: str) -> bool:
    return "/" in regex or r"\[" in regex
