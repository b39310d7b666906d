"""safetensors files: reading, writing, and one-line errors for damaged ones."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors

from fcnjax.io import safetensors_files
from fcnjax.io.safetensors_files import MAX_HEADER, read_safetensors, write_safetensors


def make_file(header, content=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(dtype="U8", shape=(1,), offsets=(0, 1)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_written_tensors_are_read_back(tmp_path):
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.asarray([1.5, -3], ml_dtypes.bfloat16),
        "flag": np.asarray(True),
        "none": np.zeros((0, 3)),
    }
    write_safetensors(tmp_path / "w", tensors, {"x": "y"})
    result, metadata = read_safetensors(tmp_path / "w")
    assert metadata == {"x": "y"}
    assert result.keys() == tensors.keys()
    for name, array in tensors.items():
        assert result[name].dtype == array.dtype
        np.testing.assert_array_equal(result[name], array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "header too small"),
        (make_file({}, length=2**63), "a header of 9223372036854775808 bytes"),
        (make_file({}, length=3), "a header of 3 bytes|invalid header length"),
        (make_file(b"{}" + b" " * MAX_HEADER), f"a header of {MAX_HEADER + 2} bytes"),
        (make_file(b'{"__metadata__":' + b'{"a":' * 10_000), "invalid JSON"),
        (make_file({"a": entry()}), "incomplete|not fully"),
        (make_file({"a": entry()}, b"xy"), "incomplete|not fully|MetadataIncompleteBuffer"),
        (make_file({"a": entry(shape=(2**63, 4, 0), offsets=(0, 0))}), "overflow"),
        (make_file({"a": entry("F32", (0, 2**62), (0, 0))}), "too big|too large"),
        (make_file({"a": entry(shape=(1,) * 65)}, b"x"), "dimension"),
        (make_file({"a": entry(), "b": entry()}, b"x"), "invalid offset|offset"),
        (make_file({"a": entry("F8_E4M3")}, b"x"), "a type that NumPy does not have"),
        (make_file({"a": entry("X")}, b"x"), "unknown variant"),
        (make_file({"a" * 501: entry()}, b"x"), "invalid name 'aaa"),
        (
            make_file({str(i): entry("U8", (0,), (0, 0)) for i in range(65_537)}),
            "more than 65536 tensors",
        ),
        (make_file({"a\x1b[2J": entry()}, b"x"), r"invalid name 'a\\x1b"),
        (make_file({"a\nb": entry()}, b"x"), r"invalid name 'a\\nb'"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)
def test_damaged_file_is_a_one_line_error(tmp_path, content, words):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_safetensors(tmp_path / "w")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) <= 200


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        read_safetensors(tmp_path / "w")


def test_full_disk_is_an_os_error(tmp_path, monkeypatch):
    def save(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left")

    monkeypatch.setattr(safetensors_files, "save_file", save)
    with pytest.raises(OSError, match="No space left"):
        write_safetensors(tmp_path / "w", {"a": np.zeros(2)})
