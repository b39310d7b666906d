"""JSON files: values, limits and one-line errors."""

import os

import pytest

from fcnjax.errors import UserError
from fcnjax.io.json_files import MAX_DEPTH, field, parse_json, read_json
from fcnjax.io.regular_files import read_file


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2.5, null]", [1, 2.5, None]),
        (f"[{2**64 - 1}, {-(2**63)}]", [2**64 - 1, -(2**63)]),
        ("[0.1234567890123456789012]", [0.1234567890123456789012]),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\udce9.png"', "\udce9.png"),  # a file name that is not UTF-8
        ('{"a": "[[[[{{{{"}', {"a": "[[[[{{{{"}),
    ],
)
def test_values(text, value):
    assert parse_json(text, "x.json") == value


def test_depth_limit():
    parse_json(nested(MAX_DEPTH), "x.json")
    parse_json('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH, "x.json")
    for text in (
        nested(MAX_DEPTH + 2),
        '{"a":[' * MAX_DEPTH + "]}" * MAX_DEPTH,
        nested(900),
        nested(200_000),
    ):
        with pytest.raises(UserError, match=r"^x\.json: is nested too deeply; the limit is 64$"):
            parse_json(text, "x.json")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[1,\n2,,]", "x.json, line 2: is not JSON: "),
        ("9" * 5000, "x.json: has the integer 99999999999999999999..., beyond 64 bits"),
        (str(2**64), "x.json: has the integer 18446744073709551616..., beyond 64 bits"),
        (r'["\ud800"]', "x.json: has an unpaired surrogate"),
        ("", "x.json, line 1: is not JSON: "),
    ],
)
def test_one_line_errors(text, line):
    with pytest.raises(UserError) as error:
        parse_json(text, "x.json")
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_files(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]
    with pytest.raises(UserError, match="has 6 bytes; the limit is 5"):
        read_json(path, max_bytes=5)
    path.write_bytes(b'"\xff"')
    with pytest.raises(UserError, match="cannot be read as text"):
        read_json(path)
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "y.json")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_json(tmp_path)
    with pytest.raises(UserError, match="cannot be read: embedded null byte"):
        read_json("x\0.json")


def test_fifos_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(UserError, match="is not a regular file"):
            read_file(path)


def test_fields():
    entry = {"a": True, "b": 1, "c": "x" * 100}
    assert field(entry, "a", bool, "f") is True
    assert field(entry, "a", object, "f") is True
    assert field(entry, "b", (int, str), "f") == 1
    for key, kind, words in (
        ("a", int, "'a' is 'True'; valid: a whole number"),
        ("a", (int, str), "'a' is 'True'; valid: a whole number or a text"),
        ("b", bool, "'b' is '1'; valid: true or false"),
        ("c", list, f"'c' is {'x' * 40!r}; valid: a list"),
        ("d", int, "has no 'd'"),
    ):
        with pytest.raises(UserError) as error:
            field(entry, key, kind, "f")
        assert str(error.value) == f"f: {words}"
    with pytest.raises(UserError, match="f: is not an object with keys such as 'a'"):
        field([], "a", int, "f")
