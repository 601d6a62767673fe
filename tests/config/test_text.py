"""What a config's text may look like, and what is said of one that is broken."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accaware.config.load import AccAwareConfig, examine_file, examine_text
from accaware.config.text.parse import parse
from accaware.config.text.tokenizer import tokens
from accaware.errors import ConfigError
from tests.config.samples import DOCUMENTATION, pruning

BROKEN = [
    ("", 1, 1, "the file is empty"),
    ("// nothing but words\n", 1, 1, "the file is empty"),
    ("[1]", 1, 1, "a config is an object in braces, not [1]"),
    ("7", 1, 1, "a config is an object in braces, not 7"),
    ("NaN", 1, 1, "NaN is not a number that a config can hold"),
    ("{", 1, 2, 'the text ends; the "{" of line 1 is not closed'),
    ('{"seed": 1,\n "metric": {"name": "a"', 2, 24, 'the "{" of line 2 is not closed'),
    ('{"seed" 1}', 1, 9, 'expected ":" after the key, found 1'),
    ('{"seed": }', 1, 10, "expected a value, found }"),
    ('{"seed": 1\n "batch_size": 2}', 2, 2, 'expected "," or "}" after the value'),
    ('{"a": [1 2]}', 1, 10, 'expected "," or "]" after the value, found 2'),
    ('{"a": [1,,2]}', 1, 10, "expected a value, found ,"),
    ('{"seed": 1,,}', 1, 12, "expected a key in double quotes"),
    ('{"seed": 1}}', 1, 12, "expected the end of the text, found }"),
    ("{}) + ({}", 1, 3, "expected the end of the text, found )"),
    ("{seed: 1}", 1, 2, 'write the key seed as "seed"'),
    ("{'seed': 1}", 1, 2, "write the key 'seed' as \"seed\""),
    ("{\"device\": 'cpu'}", 1, 12, "'cpu' needs double quotes"),
    ('{"device": cpu}', 1, 12, "cpu is not a value; text needs double quotes"),
    ('{"plugin": "x\ny"}', 1, 12, "holds a line break"),
    ('{"plugin": "\\q"}', 1, 12, "an escape that JSON doesn't have"),
    ('{"plugin": "\\ud800"}', 1, 12, "half of a surrogate pair"),
    ('{"plugin": "open}', 1, 12, "found a string without its end"),
    ("{} /* open", 1, 4, "this comment is never closed"),
    ('{"seed": NaN}', 1, 10, "NaN is not a number that a config can hold"),
    ('{"seed": -Infinity}', 1, 10, "-Infinity is not a number that a config can hold"),
    ('{"seed": 1e999}', 1, 10, "1e999 is too large for a number"),
    ('{"seed": ' + "9" * 350 + "}", 1, 10, "is too large for a number"),
    ('{"seed": ' + "9" * 5000 + "}", 1, 10, "has too many digits"),
    ('{"seed": 0x10}', 1, 10, "0x10 is not how JSON writes a number"),
    ('{"seed": 01}', 1, 10, "01 is not how JSON writes a number"),
    ('{"seed": +1}', 1, 10, "expected a value, found +"),
    ('{"concave": True}', 1, 13, "True is written true in JSON"),
    ('{"plugin": None}', 1, 12, "None is written null in JSON"),
    ('{"seed": 1,\n "seed": 2}', 2, 2, "is given twice in the same object; the first is on line 1"),
    ('{"é€😀": 1, "seed": -1}', 1, 20, "-1 is below the minimum 0"),
    ('{"seed": 1,\r\n "a" 2}', 2, 6, 'expected ":"'),
    ("\u00a0{}", 1, 1, "expected a value, found \\xa0"),
    ("[" * 100, 1, 65, "is nested deeper than 64 levels"),
    ('{"a":' * 100 + "1" + "}" * 100, 1, 321, "is nested deeper than 64 levels"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), BROKEN)
def test_broken_text_is_pointed_at(check, text, line, column, message):
    found = [one for one in check(text) if message in one.message]
    assert [(one.line, one.column) for one in found] == [(line, column)]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xfe{\x00}\x00", "is UTF-16; save it as UTF-8"),
        (b'{"plugin":\n "\xe9"}', "is not UTF-8 (byte 0xe9 can't be read)"),
        (b"{}" + b" " * 2**20, "is larger than 1 MiB"),
    ],
)
def test_unreadable_bytes_are_one_error(check, raw, message):
    (one,) = check(raw)
    assert message in one.message


def test_a_byte_that_is_not_utf_8_has_its_place(check):
    (one,) = check(b'{"plugin":\n "\xe9"}')
    assert (one.line, one.column) == (2, 3)


def test_a_byte_order_mark_is_skipped_with_a_note(check):
    raw = b"\xef\xbb\xbf" + json.dumps(pruning() | {"seed": -1}).encode()
    (wrong,) = check(raw)
    assert (wrong.path, wrong.line) == ("seed", 1)
    (one,) = check(raw, severity="note")
    assert (one.line, one.column) == (1, 1)
    assert "byte-order mark" in one.message


def test_a_diagnostic_holds_the_line_that_it_points_into(tmp_path: Path):
    file = tmp_path / "c.json"
    file.write_bytes(b'{\r\n  "seed": -1, // here\r\n}')
    found = {one.path: one.source for one in examine_file(file).diagnostics}
    assert found["seed"] == '  "seed": -1, // here'
    assert found["compression"] == "{"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 6000), st.sampled_from('{}[],:"@1/'), st.booleans())
def test_where_a_long_text_breaks_does_not_depend_on_what_follows(at, mark, more):
    long = json.dumps({f"key{index}": [index, {"a": "b"}] for index in range(200)}, indent=1)
    text = long[:at] + mark + long[at + 1 :]
    parsed = parse(text)
    ending = parse(text + ("," * 500 if more else ""))
    ended = any("but the text ends" in fault.message for fault in parsed.faults)
    if not parsed.complete and not ended:
        assert ending.faults == parsed.faults


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("{}[]:,\"'/*\\-+=.01exn_$é€😀\u00a0 \n\r\0"), max_size=40))
def test_tokens_leave_out_nothing_but_white_space_and_comments(text):
    end = 0
    for token in tokens(text):
        assert text[token.offset : token.end] == token.text
        assert re.fullmatch(r"(?s)([ \t\r\n]|//[^\r\n]*|/\*.*?\*/)*", text[end : token.offset])
        end = token.end
    assert re.fullmatch(r"(?s)([ \t\r\n]|//[^\r\n]*|/\*.*?\*/)*", text[end:])


def test_a_folder_and_a_missing_file_are_one_error_each(tmp_path: Path):
    (folder,) = examine_file(tmp_path).diagnostics
    (missing,) = examine_file(tmp_path / "none.json").diagnostics
    (impossible,) = examine_file(Path("a\0b")).diagnostics
    assert folder.message == "is a folder; a config file is needed"
    assert missing.message == "there is no such file"
    assert missing.line is None
    assert impossible.message == "is not a possible file name"


def test_comments_and_trailing_commas_are_welcome(check):
    text = json.dumps(pruning(), indent=1).replace("\n}", ", // last\n /* and // this */ }\n//")
    assert check(text) == []


def test_two_slashes_in_a_string_are_no_comment(tmp_path: Path):
    data = pruning() | {"plugin_args": {"url": "https://example.org/*x*/"}}
    config = examine_text(json.dumps(data), "config.json", tmp_path).require()
    assert config.plugin_args == {"url": "https://example.org/*x*/"}


def test_everything_wrong_is_reported_at_once_in_the_order_of_the_text(check):
    text = """{
        "seed": NaN,
        "batch_size": 0,
        "batch_sise": 1,
        "compression": {"algorithm": "filter_pruning", "params": {"pruning_steps": 1.5}}
    }"""
    found = [(one.line, one.path) for one in check(text)]
    assert found == [
        (1, "accuracy_aware_training"),
        (2, "seed"),
        (3, "batch_size"),
        (4, "batch_sise"),
        (5, "compression.params.pruning_steps"),
    ]


def test_a_diagnostic_reads_as_file_line_column_path_message(tmp_path: Path):
    file = tmp_path / "c.json"
    file.write_text(DOCUMENTATION.replace("30, // epochs of each", "1.5, // epochs of each"))
    with pytest.raises(ConfigError) as caught:
        AccAwareConfig.from_json(file)
    path = "accuracy_aware_training.params.patience_epochs"
    assert str(caught.value) == f"{file}:9:32: {path}: 1.5 is not an integer"


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abé\\/*\"'", max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_JSON, st.booleans(), st.sampled_from([None, 1]))
def test_every_json_text_is_read_as_json_reads_it(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    parsed = parse(text)
    assert parsed.faults == []
    assert parsed.data == value
