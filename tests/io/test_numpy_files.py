"""NumPy files: as NumPy reads them, and one-line errors for damaged ones."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.io.numpy_files import TEXTS, parse_array, parse_arrays, read_arrays, read_header


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def header(text, version=b"\x01\x00"):
    body = text.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(body)) + body


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), np.uint8),
        np.asarray(7, ">i4"),
        np.asarray([[True, False]]),
    ],
)
def test_arrays_equal_those_that_numpy_reads(tmp_path, array):
    result = parse_array(npy(array), "x.npy")
    np.testing.assert_array_equal(result, array)
    assert result.dtype == array.dtype
    np.save(tmp_path / "x.npy", array)
    assert read_header(tmp_path / "x.npy").shape == array.shape


def test_booleans_are_0_and_1():
    content = bytearray(npy(np.asarray([True, True, False])))
    content[-3] = 2
    assert parse_array(content, "x.npy").view(np.uint8).tolist() == [1, 1, 0]


DAMAGED = {
    b"": "is not a NumPy array",
    b"\x93NUMPY\x01\x00": "is not a NumPy array",
    npy(np.arange(9))[:-1]: "is truncated: its array needs 72 bytes of 71",
    npy(np.asarray([{}, 1], object), allow_pickle=True): "is an array of object",
    npy(np.zeros(2, "S3")): "is an array of |S3",
    npy(np.zeros(2, [("a", "i4")])): "is an array of",
    npy(np.zeros((1,) * 9)): "at most 8 axes",
    header(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000)}"
    ): "truncated",
    header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}"): "has the shape (-1, -8)",
    header("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 2**70)}"): "not a NumPy array",
    header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {2**70})}}"): "has the shape",
    header("(" * 9000): "is not a NumPy array",
    header("{'descr': '<f8', 'fortran_order': __import__('os'), 'shape': ()}"): "not a NumPy array",
    header("{}", b"\x09\x00"): "is not a NumPy array",
}


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_damaged_array_is_a_one_line_error(tmp_path, number):
    content, words = list(DAMAGED.items())[number]
    with pytest.raises(UserError) as error:
        parse_array(content, "x.npy")
    assert str(error.value).startswith("x.npy: ")
    assert words in str(error.value)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npy: "):
        read_header(tmp_path / "x.npy")


@pytest.mark.parametrize("order", "<>")
def test_text_beyond_unicode_is_an_error(order):
    content = bytearray(npy(np.asarray(["ab", "\U0010ffff"], f"{order}U2")))
    assert parse_array(content, "x.npy", TEXTS).tolist() == ["ab", "\U0010ffff"]
    struct.pack_into(f"{order}I", content, len(content) - 8, 0x110000)
    with pytest.raises(UserError, match=r"x\.npy: has text that is not Unicode"):
        parse_array(content, "x.npy", TEXTS)


def npz(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def test_archives_are_read_by_name_and_kind(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(3), names=np.asarray(["é", "b"]))
    arrays = read_arrays(tmp_path / "x.npz", {"names": TEXTS, "missing": TEXTS})
    assert list(arrays) == ["names"]
    assert arrays["names"].tolist() == ["é", "b"]
    with pytest.raises(UserError, match=r"x\.npz: names: is an array of <U1"):
        read_arrays(tmp_path / "x.npz")


def with_size(content, size):
    """Return the archive with another size of its first member, in both headers."""
    changed = bytearray(content)
    struct.pack_into("<I", changed, 22, size)
    struct.pack_into("<I", changed, changed.index(b"PK\1\2") + 24, size)
    return bytes(changed)


def damaged_archives():
    good = npz([("a.npy", npy(np.arange(100)))])
    zeros = zlib.compress(b"\0")  # any bytes
    return {
        "not an archive": (b"PK no archive", "is not an .npz file"),
        "cut": (good[:-30], "is not an .npz file"),
        "claimed size": (with_size(good, 2**31), "need 2147483648 bytes; at most"),
        "ratio": (with_size(good, 2**28), "cannot have 268435456 bytes"),
        "changed byte": (good[:60] + bytes([good[60] ^ 255]) + good[61:], "a.npy is damaged"),
        "too many": (npz([(f"{i}.npy", zeros) for i in range(1001)]), "has 1001 arrays"),
        "method": (npz([("a.npy", zeros)], zipfile.ZIP_LZMA), "is not stored or deflated"),
        "not an array": (npz([("a.npy", b"no array")]), "x.npz: a: is not a NumPy array"),
    }


@pytest.mark.parametrize("kind", damaged_archives())
def test_damaged_archive_is_a_one_line_error(kind):
    content, words = damaged_archives()[kind]
    with pytest.raises(UserError) as error:
        parse_arrays(content, "x.npz", "iuf", 2**30)
    assert words in str(error.value)


def test_archive_of_many_members_is_refused_before_its_directory_is_parsed():
    content = npz([(f"{i:0200}.npy", b"") for i in range(9000)])
    with pytest.raises(UserError, match=r"x\.npz: has more than 1000 arrays"):
        parse_arrays(content, "x.npz", "iuf")
