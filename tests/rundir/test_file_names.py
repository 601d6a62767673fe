"""Names of states are names of files in one folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.rundir.file_names import is_file_name


@pytest.mark.parametrize("name", ["snapshot-5", "trial-0-save-1", "dense-snapshot-1-again", "a.b"])
def test_names_of_states(name: str) -> None:
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "C:x", ".hidden", "x\0", "x\n", None, 1],
)
def test_what_leads_elsewhere(name: object) -> None:
    assert not is_file_name(name)


@given(name=st.text(alphabet="ab./\\:-~ \n", max_size=8))
def test_a_name_has_no_path_in_it(name: str) -> None:
    assert not is_file_name(name) or (not set(name) & set("/\\: \n~") and name[0] not in ".-")
