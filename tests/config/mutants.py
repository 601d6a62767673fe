"""Inputs for the config room that are broken on purpose, and know where.

A mutant of a valid config knows the line at which a fault must be reported. Everything is drawn
from one ``random.Random``, so that a seed names a whole run.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.config.load import examine_bytes
from accaware.config.text.source import LARGEST

At = tuple[str | int, ...]


@dataclass(frozen=True)
class Mutant:
    """``line`` is where an error must be, 0 if there must be none, None if anything goes.

    ``there`` are the keys beside the one that is broken: none of them may be suggested.
    """

    raw: bytes
    kind: str
    line: int | None = None
    there: frozenset[str] = frozenset()


def violation(mutant: Mutant) -> str | None:
    """What the config room does wrong with it; None if nothing."""
    outcome = examine_bytes(mutant.raw, "mutant.json", Path())
    errors = [one for one in outcome.diagnostics if one.severity == "error"]
    if (outcome.config is None) != bool(errors):
        return f"{mutant.kind}: a config and errors, or neither"
    if mutant.line == 0 and errors:
        return f"{mutant.kind}: is right, but: {errors[0]}"
    if mutant.line and mutant.line not in [one.line for one in errors]:
        told = "; ".join(map(str, errors)) or "nothing"
        return f"{mutant.kind}: no error on line {mutant.line}, but: {told}"
    useless = [one for one in errors if one.line == mutant.line and one.suggestion in mutant.there]
    if useless:
        return f"{mutant.kind}: suggests what is there: {useless[0]}"
    values = [(one.path, one.line, one.column) for one in errors if " is not " in one.message]
    if mutant.line and len(set(values)) < len(values):
        return f"{mutant.kind}: says twice that a value is wrong"
    return None


def mutants(rng: random.Random) -> Iterator[Mutant]:
    """Without end: mostly configs with one rule broken, some that are right, some raw bytes."""
    makers: list[tuple[int, Callable[[random.Random], Mutant]]] = [
        (3, valid),
        (14, broken),
        (4, broken_text),
        (4, spliced),
        (2, raw_bytes),
        (1, token_soup),
    ]
    weights = [weight for weight, _ in makers]
    while True:
        ((_, make),) = rng.choices(makers, weights)
        yield make(rng)


def large_mutants(rng: random.Random, size: int = LARGEST) -> Iterator[Mutant]:
    """Inputs of nearly ``size`` bytes, each of a shape that could take long."""
    config = json.dumps(_config(rng), indent=1)
    count = size // 24
    scopes = [f"layer{index}.conv" for index in range(count)]
    shapes = {
        "many scopes": json.dumps({"compression": {"ignored_scopes": scopes}}),
        "many unknown keys": json.dumps({f"patience_epoch{index}": 1 for index in range(count)}),
        "many misspelt keys": json.dumps({f"batch_siz{index:x}": 1 for index in range(count)}),
        "many entries": json.dumps({"compression": [{"algorithm": "filter_pruning"}] * 1500}),
        "many misplaced": json.dumps(
            {"compression": [{"algorithm": "quantization", "pruning_target": 1}] * 1000}
        ),
        "many names misspelt": json.dumps({"compression": [{"algorithm": "filter_prun"}] * 2000}),
        "many NaN": '{"plugin_args": [' + "NaN," * (size // 5) + "]}",
        "many NaN at keys": "{" + ",".join(f'"k{index}": NaN' for index in range(count)) + "}",
        "many duplicates": "{" + '"seed": 1,' * (size // 11) + "}",
        "many bare keys": "{" + ",".join(f"k{index}: 1" for index in range(count)) + "}",
        "deep lists": "[" * size,
        "deep objects": '{"a":' * (size // 5),
        "many quotes": '"' * size,
        "many commas": "," * size,
        "no commas": "{" + '"a": 1\n' * (size // 7) + "}",
        "many comments": config + "//\n" * ((size - len(config)) // 3),
        "open comment": config + "/*" * ((size - len(config)) // 2),
        "long line": json.dumps({"plugin": "x" * (size - 20)}),
        "long number": '{"seed": ' + "9" * (size - 20) + "}",
        "long list": json.dumps({"optimizer": {"steps": list(range(size // 8))}}),
        "many overrides": json.dumps(
            {
                "compression": {
                    "algorithm": "quantization",
                    "scope_overrides": {"weights": {f"l{i}": {"bits": 9} for i in range(count)}},
                }
            }
        ),
        "not UTF-8": "é" * (size // 2),
    }
    for kind, text in shapes.items():
        yield Mutant(text.encode("latin-1" if kind == "not UTF-8" else "utf-8")[:size], kind)
    alphabet = ["{", "}", "[", "]", '"', ",", ":", "1", "a", " ", "\n", "//", "/*", "`", "(", "=>"]
    for _ in range(8):
        text = "".join(rng.choices(alphabet, k=size))
        yield Mutant(text.encode()[:size], "large soup")
        filler = json.dumps({f"k{index}": [1, {"x": "y"}] for index in range(size // 25)})
        holes = list(filler[:size])
        for _ in range(rng.choice([1, 30, 3000])):
            holes[rng.randrange(len(holes))] = rng.choice('{}[],:" 1a')
        yield Mutant("".join(holes).encode()[:size], "large with holes")


def valid(rng: random.Random) -> Mutant:
    text, _ = rendered(_config(rng), rng)
    return Mutant(text.encode(), "valid", 0)


def broken(rng: random.Random) -> Mutant:
    """A rule of the data broken at a known place."""
    data = _config(rng)
    kind, breaker = rng.choice(_BREAKERS)
    at = breaker(data, rng)
    while at is None:
        kind, breaker = rng.choice(_BREAKERS)
        at = breaker(data, rng)
    text, lines = rendered(data, rng)
    return Mutant(text.encode(), kind, lines[at], frozenset(_at(data, at[:-1])) - {at[-1]})


def broken_text(rng: random.Random) -> Mutant:
    """The text of a valid config broken at a known place."""
    text, lines = rendered(_config(rng), rng)
    rows = text.split("\n")
    at = rng.choice([path for path in lines if path and isinstance(path[-1], str)])
    row = lines[at] - 1
    kind = rng.choice(["colon", "junk", "value", "quotes", "twice", "cut"])
    key, _, rest = rows[row].partition(": ")
    if kind == "colon":
        rows[row] = f"{key} {rest}"
    elif kind == "junk":
        rows[row] = rng.choice(["@", ")", "=", "}}", "1 2", "`", "+"]) + rows[row]
    elif kind == "value":
        word = rng.choice(["NaN", "-Infinity", "1e999", "0x1", "True", "nothing", "'x'", '"\\q"'])
        rows[row] = f"{key}: {word}," if rest.rstrip(" ,")[-1:] not in "{[" else f"{word}: {rest}"
        if rest.rstrip(" ,")[-1:] in "{[":
            rows[row] = f"{key}: @ {rest}"
    elif kind == "quotes":
        rows[row] = rows[row].replace('"', "", 2)
    elif kind == "twice":
        rows.insert(row, f"{key}: 1,")
        return Mutant("\n".join(rows).encode(), "text: twice", row + 2)
    else:
        rows = rows[: row + 1]
        rows[row] = key
    return Mutant("\n".join(rows).encode(), f"text: {kind}", row + 1)


def spliced(rng: random.Random) -> Mutant:
    text, _ = rendered(_config(rng), rng)
    raw = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        raw[at : at + rng.randint(0, 9)] = rng.choice(_SPLICES)
    return Mutant(bytes(raw), "spliced")


def raw_bytes(rng: random.Random) -> Mutant:
    start = rng.choice([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"\x00"])
    return Mutant(start + rng.randbytes(rng.randint(0, 200)), "bytes")


def token_soup(rng: random.Random) -> Mutant:
    return Mutant(b"".join(rng.choices(_SPLICES, k=rng.randint(1, 300))), "soup")


def rendered(data: Any, rng: random.Random) -> tuple[str, dict[At, int]]:
    """JSON with comments and trailing commas, one key or entry a line; the line of each path."""
    rows: list[str] = []
    lines: dict[At, int] = {}

    def comment() -> str:
        return rng.choice(["", "", "", " // with {braces", " /* or */", "\t"])

    def write(value: Any, at: At, head: str, tail: str) -> None:
        if rng.random() < 0.05:
            rows.append(rng.choice(["", "// a line", "/* two */"]))
        lines[at] = len(rows) + 1
        if isinstance(value, dict) and value:
            rows.append(head + "{" + comment())
            entries = [((*at, key), json.dumps(key) + ": ", one) for key, one in value.items()]
        elif isinstance(value, list) and value:
            rows.append(head + "[" + comment())
            entries = [((*at, index), "", one) for index, one in enumerate(value)]
        else:
            rows.append(head + json.dumps(value, ensure_ascii=rng.random() < 0.5) + tail)
            return
        for index, (path, label, one) in enumerate(entries):
            last = index == len(entries) - 1
            write(one, path, label, "" if last and rng.random() < 0.8 else ",")
        rows.append(("}" if isinstance(value, dict) else "]") + tail + comment())

    write(data, (), "", "")
    return "\n".join(rows) + rng.choice(["", "\n", "\n// end"]), lines


_SPLICES = [
    *(mark.encode() for mark in "{}[]:,\"'`()+-=/\\ \n\r\0é€😀"),
    *(b"NaN", b"1e999", b"null", b"true", b"-1", b"0.5", b"/*", b"//", b"*/", b"\xff", b"\xed\xa0"),
    *(b'"params"', b'"mode"', b'"compression"', b"${", b"=>", b"\xe2\x80\xa8", b"function"),
]


def _adaptive(rng: random.Random) -> dict[str, Any]:
    params = {
        "maximal_relative_accuracy_degradation": rng.choice([0, 1, 1.5]),
        "initial_training_phase_epochs": rng.randint(100, 120),
        "patience_epochs": rng.randint(1, 9),
        "minimal_compression_rate_step": 0.025,
        "initial_compression_rate_step": 0.1,
        "maximal_total_epochs": 1e4,
    }
    return {"mode": "adaptive_compression_level", "params": params}


def _early_exit(rng: random.Random) -> dict[str, Any]:
    params = {"maximal_absolute_accuracy_degradation": 0.5, "maximal_total_epochs": 150}
    return {"mode": "early_exit", "params": params}


def _preset(rng: random.Random) -> dict[str, Any]:
    training = rng.choice([_adaptive, _early_exit])(rng)
    own = training["params"]
    # Most of what it stands for is given by some configs.
    if "patience_epochs" in own and rng.random() < 0.5:
        own["strategy"] = rng.choice(["ramp", "uniform_decrease"])
    if rng.random() < 0.3:
        own["weight_averaging"] = "none"
    if own.get("strategy") != "uniform_decrease":
        own.pop("initial_training_phase_epochs", None)
        own.pop("initial_compression_rate_step", None)
    return {**training, "preset": "recommended"}


_PRUNING = {
    "algorithm": "filter_pruning",
    "pruning_init": 0.1,
    "ignored_scopes": ["{re}UNet/ModuleList\\[up_path\\].*", "conv1"],
    "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 100}},
    "params": {
        "schedule": "exponential",
        "pruning_target": 0.4,
        "pruning_steps": 20,
        "filter_importance": "geometric_median",
    },
}
_SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {
        "schedule": "multistep",
        "multistep_steps": [5, 10],
        "multistep_sparsity_levels": [0.1, 0.2, 0.3],
    },
}
_QUANTIZATION = {
    "algorithm": "quantization",
    "preset": "mixed",
    "weights": {"bits": 4, "mode": "asymmetric", "per_channel": True},
    "activations": {"bits": 8},
    "initializer": {
        "range": {
            "type": "percentile",
            "num_init_samples": 8,
            "params": {"min_percentile": 1, "max_percentile": 99},
        }
    },
    "scope_overrides": {"weights": {"ResNet/NNCFConv2d[conv1]/conv2d_0": {"bits": 8}}},
}
_DISTILLATION = {"algorithm": "knowledge_distillation", "type": "softmax", "temperature": 2}


def _config(rng: random.Random) -> dict[str, Any]:
    levelled = rng.choice([_PRUNING, _SPARSITY])
    training, mix = rng.choice(
        [
            (_adaptive, [levelled]),
            (_adaptive, [levelled, _QUANTIZATION]),
            (_early_exit, [_QUANTIZATION, _DISTILLATION]),
            (_early_exit, [levelled]),
            (_preset, [levelled]),
            (_preset, [levelled, _QUANTIZATION, _DISTILLATION]),
            (_early_exit, [_SPARSITY, _PRUNING, _QUANTIZATION]),
        ]
    )
    data: dict[str, Any] = {
        "input_info": {"sample_size": [1, 3, 32, 32]},
        "metric": {"name": "mIoU é", "higher_is_better": True},
        "batch_size": rng.randint(1, 64),
        "optimizer": {
            "type": "SGD",
            "base_lr": 0.1,
            "optimizer_params": {"momentum": 0.9, "nesterov": True},
        },
        "model": "resnet18",
        "epochs": 3,
        "accuracy_aware_training": training(rng),
        "compression": mix if len(mix) > 1 or rng.random() < 0.5 else mix[0],
    }
    keys = list(data)
    rng.shuffle(keys)
    return copy.deepcopy({key: data[key] for key in keys})


Breaker = Callable[[dict[str, Any], random.Random], At | None]


def _objects(data: dict[str, Any]) -> Iterator[tuple[At, dict[str, Any]]]:
    """Every object whose keys are all known to a schema."""
    todo: list[tuple[At, Any]] = [((), data)]
    while todo:
        at, value = todo.pop()
        if isinstance(value, dict):
            if at[-1:] not in (("weights",), ("activations",)) or "scope_overrides" not in at:
                yield at, value
            todo += [((*at, key), one) for key, one in value.items()]
        elif isinstance(value, list):
            todo += [((*at, index), one) for index, one in enumerate(value)]


def _unknown_key(data: dict[str, Any], rng: random.Random) -> At | None:
    at, value = rng.choice(list(_objects(data)))
    key = rng.choice(["zzz", "patience_epoch", "\n", "", "__proto__", "é", "a.b", "[0]"])
    value[key] = rng.choice([1, "x", None, {"y": 1}, []])
    return (*at, key)


def _nearly_twice(data: dict[str, Any], rng: random.Random) -> At | None:
    """A misspelling beside the key itself."""
    at, value = rng.choice(list(_objects(data)))
    if not value:
        return None
    key = rng.choice(list(value))
    spot = rng.randrange(len(key))
    misspelt = key[:spot] + key[spot] + key[spot:]
    value[misspelt] = value[key]
    return (*at, misspelt)


def _misplaced(data: dict[str, Any], rng: random.Random) -> At | None:
    """An algorithm or a key of its params at the top, a mode among its params."""
    section, compression = data["accuracy_aware_training"], data["compression"]
    what = rng.choice(["mode", "algorithm", "param"])
    if what == "mode":
        section["params"]["mode"] = section.pop("mode")
        return ("accuracy_aware_training", "params", "mode")
    if not isinstance(compression, dict):
        return None
    if what == "algorithm":
        data |= data.pop("compression")
        return ("algorithm",)
    key = rng.choice(list(compression["params"]))
    data[key] = compression["params"].pop(key)
    return (key,)


def _misspelt_key(data: dict[str, Any], rng: random.Random) -> At | None:
    at, value = rng.choice(list(_objects(data)))
    if not value:
        return None
    key = rng.choice(list(value))
    spot = rng.randrange(len(key))
    misspelt = key[:spot] + key[spot] + key[spot:]
    renamed = {misspelt if one == key else one: value[one] for one in value}
    value.clear()
    value.update(renamed)
    return (*at, misspelt)


def _wrong_type(data: dict[str, Any], rng: random.Random) -> At | None:
    at, value = rng.choice(list(_objects(data)))
    keys = [key for key, one in value.items() if not isinstance(one, dict | list)]
    if not keys:
        return None
    key = rng.choice(keys)
    value[key] = rng.choice([{"x": 1}, [[]], None])
    return (*at, key)


_OUT_OF_BOUNDS: dict[str, list[Any]] = {
    "patience_epochs": [0, 1.5, "3", True],
    "initial_training_phase_epochs": [-1, 0.5],
    "maximal_total_epochs": [0, -1, 1.5],
    "maximal_relative_accuracy_degradation": [-1],
    "initial_compression_rate_step": [0, 2],
    "pruning_target": [1, -0.1],
    "pruning_init": [1, -1],
    "pruning_steps": [0, 2.5],
    "num_bn_adaptation_samples": [-1],
    "schedule": ["exponental", "linear", 5, []],
    "filter_importance": ["L3"],
    "algorithm": [7, "rb_sparsity", "filter_prunin", "const_sparsity", "x"],
    "mode": ["early", "adaptiv", "symetric"],
    "bits": [1, 9, 4.5, -0.5],
    "preset": ["mix"],
    "num_init_samples": [-1],
    "min_percentile": [-1, 101, 99],
    "type": ["sofmax", "momentum", "hawq"],
    "temperature": [0],
    "batch_size": [0, 1.5],
    "base_lr": [0, -1],
    "momentum": [1, 0],
    "epochs": [-1, "many"],
}


def _out_of_bounds(data: dict[str, Any], rng: random.Random) -> At | None:
    places = [
        (at, value, key) for at, value in _objects(data) for key in value if key in _OUT_OF_BOUNDS
    ]
    at, value, key = rng.choice(places)
    value[key] = rng.choice(_OUT_OF_BOUNDS[key])
    if key == "momentum" and value[key] == 0:
        return (*at, "nesterov")
    return (*at, key)


def _at(data: Any, path: At) -> Any:
    for step in path:
        data = data[step]
    return data


def _entries(data: dict[str, Any]) -> list[tuple[At, dict[str, Any]]]:
    section = data["compression"]
    if isinstance(section, dict):
        return [(("compression",), section)]
    return [(("compression", index), one) for index, one in enumerate(section)]


def _cross_rule(data: dict[str, Any], rng: random.Random) -> At | None:
    params = data["accuracy_aware_training"]["params"]
    at: At = ("accuracy_aware_training", "params")
    adaptive = "patience_epochs" in params
    ramp = adaptive and "initial_training_phase_epochs" not in params
    rule = rng.choice(["degradations", "steps", "bounds", "length", "twice", "both", "levels"])
    if rule == "degradations":
        params["maximal_relative_accuracy_degradation"] = 1
        params["maximal_absolute_accuracy_degradation"] = 1
        return (*at, "maximal_absolute_accuracy_degradation")
    if rule == "steps" and adaptive and not ramp:
        params["minimal_compression_rate_step"] = 0.3
        return (*at, "minimal_compression_rate_step")
    if rule == "bounds" and adaptive:
        params["minimal_compression_rate"] = 0.9
        params["maximal_compression_rate"] = 0.8
        return (*at, "minimal_compression_rate")
    for where, entry in _entries(data):
        own = entry.get("params", {})
        if rule == "length" and "pruning_steps" in own and not ramp:
            own["pruning_steps"] = 1000
            return (*where, "params", "pruning_steps")
        if rule == "levels" and "multistep_steps" in own:
            own["multistep_sparsity_levels"].append(0.9)
            return (*where, "params", "multistep_sparsity_levels")
    if rule in ("twice", "both") and isinstance(data["compression"], list):
        names = [entry["algorithm"] for _, entry in _entries(data)]
        if rule == "twice":
            data["compression"].append(copy.deepcopy(data["compression"][0]))
        elif adaptive and "filter_pruning" in names:
            data["compression"].append(copy.deepcopy(_SPARSITY))
        else:
            return None
        return ("compression", len(names), "algorithm")
    return None


_BREAKERS: list[tuple[str, Breaker]] = [
    ("unknown key", _unknown_key),
    ("misspelt key", _misspelt_key),
    ("nearly twice", _nearly_twice),
    ("misplaced", _misplaced),
    ("wrong type", _wrong_type),
    ("out of bounds", _out_of_bounds),
    ("cross rule", _cross_rule),
]
