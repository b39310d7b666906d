"""safetensors files: read whole or refused with one line."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors

from fcnjax.io import safetensors_files
from fcnjax.io.safetensors_files import MAX_HEADER, read_safetensors, write_safetensors


def made(header, content=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(dtype="U8", shape=(1,), offsets=(0, 1)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_is_written_is_read(tmp_path):
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.asarray([1.5, -3], ml_dtypes.bfloat16),
        "flag": np.asarray(True),
        "none": np.zeros((0, 3)),
    }
    write_safetensors(tmp_path / "w", tensors, {"x": "y"})
    found, metadata = read_safetensors(tmp_path / "w")
    assert metadata == {"x": "y"}
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "header too small"),
        (made({}, length=2**63), "a header of 9223372036854775808 bytes"),
        (made({}, length=3), "a header of 3 bytes|invalid header length"),
        (made(b"{}" + b" " * MAX_HEADER), f"a header of {MAX_HEADER + 2} bytes"),
        (made(b'{"__metadata__":' + b'{"a":' * 10_000), "invalid JSON"),
        (made({"a": entry()}), "incomplete|not fully"),
        (made({"a": entry()}, b"xy"), "incomplete|not fully|MetadataIncompleteBuffer"),
        (made({"a": entry(shape=(2**63, 4, 0), offsets=(0, 0))}), "overflow"),
        (made({"a": entry("F32", (0, 2**62), (0, 0))}), "too big|too large"),
        (made({"a": entry(shape=(1,) * 65)}, b"x"), "dimension"),
        (made({"a": entry(), "b": entry()}, b"x"), "invalid offset|offset"),
        (made({"a": entry("F8_E4M3")}, b"x"), "a type that NumPy does not have"),
        (made({"a": entry("X")}, b"x"), "unknown variant"),
        (made({"a" * 501: entry()}, b"x"), "invalid name 'aaa"),
        (
            made({str(i): entry("U8", (0,), (0, 0)) for i in range(65_537)}),
            "more than 65536 tensors",
        ),
        (made({"a\x1b[2J": entry()}, b"x"), r"invalid name 'a\\x1b"),
        (made({"a\nb": entry()}, b"x"), r"invalid name 'a\\nb'"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)
def test_others_are_refused(tmp_path, content, words):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_safetensors(tmp_path / "w")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) <= 200


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        read_safetensors(tmp_path / "w")


def test_a_full_disk_is_an_os_error(tmp_path, monkeypatch):
    def save(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left")

    monkeypatch.setattr(safetensors_files, "save_file", save)
    with pytest.raises(OSError, match="No space left"):
        write_safetensors(tmp_path / "w", {"a": np.zeros(2)})
