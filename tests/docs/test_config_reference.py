"""The page of all keys: each is there, with an example that a config may have."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from types import ModuleType
from typing import Any

from accaware.config.load import examine_config
from accaware.config.schema.json_schema import bundled
from tests.docs.conftest import DOCS


def _loaded() -> ModuleType:
    """The hook, as MkDocs loads it."""
    spec = importlib.util.spec_from_file_location("hook", DOCS / "site" / "config_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hook"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


reference = _loaded()
PAGE: str = reference.page()
ANCHORS = re.findall(r"^#### .* \{ #(\S+) \}$", PAGE, re.MULTILINE)


def test_an_anchor_is_a_path_without_its_dots() -> None:
    assert "accuracy_aware_trainingparamspatience_epochs" in ANCHORS
    assert "compressionfilter_pruningparamspruning_target" in ANCHORS
    assert len(ANCHORS) == len(set(ANCHORS))


def names_in(part: Any) -> set[str]:
    """Of all keys, at any depth of a JSON Schema."""
    if isinstance(part, list):
        return set().union(*map(names_in, part))
    if not isinstance(part, dict):
        return set()
    own = part.get("properties", {})
    keys = set() if "const" in json.dumps(own.get("mode", "")) else set(own)
    return keys.union(*map(names_in, part.values()))


def test_each_key_that_an_editor_is_told_of_is_there() -> None:
    shown = {
        title.rpartition(".")[2] for title in re.findall(r"^#### `(.*)` \{", PAGE, re.MULTILINE)
    }
    missing = names_in(bundled()) - shown
    assert not missing


def test_each_key_has_words_and_an_example() -> None:
    without = [
        key.title
        for key in reference.all_keys()
        if not key.refused and not ("description" in key.about or "title" in key.about)
    ]
    assert not without
    shown = {key.title for key in reference.all_keys() if not key.refused}
    assert PAGE.count("```json5") == len(shown)


def test_an_example_is_one_of_a_config_and_has_an_effect() -> None:
    """Unless the page says that nothing has one."""
    wrong = []
    for key in reference.all_keys():
        if key.refused:
            continue
        outcome = examine_config(reference.whole_config(key))
        errors = [one for one in outcome.diagnostics if one.severity == "error"]
        path = ".".join(key.path).replace("<scope>", "conv1")
        without = [one for one in outcome.warnings if re.sub(r"\[\d+\]", "", one.path) == path]
        expected = "x-ignored" in key.about or key.about.get("x-sample-key")
        wrong += [(key.title, str(one)) for one in (*errors, *(() if expected else without))]
    assert not wrong
