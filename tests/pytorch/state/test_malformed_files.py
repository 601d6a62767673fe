"""Whatever a file holds, loading it works or is a CheckpointError."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from accaware.errors import CheckpointError
from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.state.checkpoint import read_checkpoint
from tests.pytorch.channels.shared_models import Scaled
from tests.pytorch.state.test_shared_names import EXAMPLE, MIXES, config, made


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with masks, buffers and quantizers."""
    path = tmp_path_factory.mktemp("sound") / "model.pt"
    controller, model = create_compressed_model(
        made(Scaled), config(MIXES["both"]), EXAMPLE[:1], [(EXAMPLE, torch.zeros(2))]
    )
    controller.compression_rate = 0.4
    save_compressed(model, controller.algorithm.kept_masks(), path)
    return path


def load(path: Path) -> bool:
    """Whether a file loads; one that doesn't leaves the model as it was."""
    model = made(Scaled)
    before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    try:
        load_compressed(path, model)
    except CheckpointError as error:
        refusal = str(error)
    else:
        return True
    assert str(path) in refusal
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())
    return False


tensors = st.sampled_from(
    [
        torch.zeros(()),
        torch.ones(3),
        torch.ones(12, dtype=torch.bool),
        torch.zeros(12, dtype=torch.bool),
        torch.ones(1, dtype=torch.bool).expand(10**12),
        torch.ones(1).expand(10**12),
        torch.ones(12, dtype=torch.int64),
        torch.full((12,), torch.nan),
        torch.ones(2, 2, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch.empty(4, device="meta"),
        nn.Parameter(torch.ones(3)),
    ]
)
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.sampled_from([2**40, -(2**70)]),
    st.floats(),
    st.text(max_size=6),
    st.binary(max_size=6),
    tensors,
    st.sampled_from([torch.float16, torch.Size([2]), torch.device("cpu"), {1, 2}]),
)
junk = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.integers(-2, 5), st.none()), inner, max_size=3
        ),
    ),
    max_leaves=5,
)


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container within, with each of its keys."""
    found = []
    if isinstance(content, (dict, list)):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        for key in keys:
            found += [(content, key), *places(content[key])]
    return found


names = st.one_of(st.text(max_size=5), st.integers(-1, 9))
edits = st.tuples(
    st.integers(0, 2**20),
    st.sampled_from(["replace", "replace", "remove", "rename", "add", "copy"]),
    st.tuples(junk, names, st.integers(0, 2**20)),
)
"""Where, how, and with what."""


def edit(content: Any, place: int, how: str, what: tuple[Any, Any, int]) -> None:
    """One thing less, more, elsewhere or otherwise."""
    every = places(content)
    holder, key = every[place % len(every)]
    value, name, other = what
    if how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[name] = holder.pop(key)
    elif how == "add" and isinstance(holder, dict):
        holder[name] = value
    elif how == "copy":
        theirs, its = every[other % len(every)]
        holder[key] = copy.deepcopy(theirs[its])
    else:
        holder[key] = copy.deepcopy(value)


@given(changes=st.lists(edits, min_size=1, max_size=3))
def test_other_contents(sound: Path, changes: list[tuple[Any, ...]]) -> None:
    content = read_checkpoint(sound)
    for change in changes:
        edit(content, *change)
    path = sound.with_name("changed.pt")
    torch.save(content, path)
    load(path)


@pytest.mark.parametrize(
    "place",
    [
        ("version",), ("state_dict",), ("metadata",), ("kept",), ("buffers",), ("quantizers",),
        ("state_dict", "first.weight"), ("kept", "scale"), ("kept", "first.weight", 0),
        ("quantizers", "weights"), ("quantizers", "activations"),
        ("quantizers", "weights", "first", "scale"), ("quantizers", "activations", 0, "side"),
    ],
)  # fmt: skip
@given(value=junk)
@settings(max_examples=12)
def test_other_values(sound: Path, place: tuple[Any, ...], value: Any) -> None:
    content = read_checkpoint(sound)
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    same = type(holder[place[-1]]) is type(value)
    holder[place[-1]] = value
    path = sound.with_name("other.pt")
    torch.save(content, path)
    assert not load(path) or same or value is None


def test_the_sound_one_loads(sound: Path) -> None:
    assert load(sound)


@given(data=st.data())
def test_cut_and_flipped_bytes(sound: Path, data: st.DataObject) -> None:
    content = bytearray(sound.read_bytes())
    positions = st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(positions, min_size=1, max_size=4)):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    path = sound.with_name("damaged.pt")
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), positions))])
    load(path)


def test_cut_at_every_length_near_the_ends(sound: Path) -> None:
    content, path = sound.read_bytes(), sound.with_name("cut.pt")
    for length in (*range(0, 200, 7), *range(len(content) - 200, len(content), 7)):
        path.write_bytes(content[:length])
        assert not load(path)


@given(content=st.one_of(st.binary(max_size=200), st.text()))
@settings(max_examples=50)
def test_no_torch_files_at_all(sound: Path, content: bytes | str) -> None:
    path = sound.with_name("none.pt")
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    assert not load(path)


@given(program=st.binary(max_size=60))
@settings(max_examples=50)
def test_other_pickles_in_a_torch_file(sound: Path, program: bytes) -> None:
    path = sound.with_name("pickle.pt")
    with zipfile.ZipFile(sound) as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            is_program = name.endswith("data.pkl")
            archive.writestr(name, b"\x80\x02" + program if is_program else whole.read(name))
    assert not load(path)


def test_what_would_fill_the_memory_is_refused(sound: Path) -> None:
    path = sound.with_name("bomb.pt")
    with zipfile.ZipFile(sound) as whole:
        names = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    assert not load(path)


def test_the_old_format_of_torch_is_refused(sound: Path) -> None:
    buffer = io.BytesIO()
    torch.save(read_checkpoint(sound), buffer, _use_new_zipfile_serialization=False)
    path = sound.with_name("old.pt")
    path.write_bytes(buffer.getvalue())
    assert not load(path)
