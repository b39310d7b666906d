"""Read `.npy` and `.npz` files from outside: no pickles, and no more memory than there are bytes.

NumPy itself allocates what a header claims, and inflates what an archive claims.
"""

import io
import math
import struct
import sys
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from fcnjax.errors import UserError
from fcnjax.io.regular_files import read_file

_WORDS = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floats", "U": "text"}
NUMBERS = "biuf"  # kinds of dtypes, as `numpy.dtype.kind` has them
TEXTS = "U"
MAX_BYTES = 512 * 2**20  # of all arrays of an archive together
MAX_MEMBERS = 1000  # of an archive
_MAX_DIMENSIONS = 8
_LONGEST_HEADER = 2**14  # bytes; NumPy's own limit is 10,000 characters
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LONGEST_DIRECTORY = 2**10 * MAX_MEMBERS  # bytes
_END_MARK, _END_64_MARK = b"PK\5\6", b"PK\6\7"
_END = struct.Struct("<4s4H2LH")
_HIGHEST_RATIO = 1100  # of deflate: 1032
_HEADERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    # As 2.0, but for names of fields, which arrays of numbers do not have.
    (3, 0): npy.read_array_header_2_0,
}


class Header(NamedTuple):
    """The header of a `.npy` file.

    Attributes:
        shape: Of the array.
        fortran: Whether the first axis varies fastest.
        dtype: Of its elements.
        start: The place of the first element in the file.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int


def parse_array(content: bytes | bytearray, path: object, kinds: str = NUMBERS) -> np.ndarray:
    """Parses the content of a `.npy` file.

    Args:
        content: The bytes; the array shares their memory.
        path: The file that they are from, for errors.
        kinds: The kinds of dtypes that are valid, such as `NUMBERS`.

    Raises:
        UserError: It is damaged, cut off, of another kind, or has more than eight dimensions.
    """
    header = _parse_header(content[:_LONGEST_HEADER], len(content), path, kinds)
    count = math.prod(header.shape)
    array = np.frombuffer(content, header.dtype, count, header.start if count else 0)
    if header.dtype.kind == "U":
        codes = array.view(np.dtype(np.uint32).newbyteorder(header.dtype.byteorder))
        if codes.max(initial=0) > sys.maxunicode:  # NumPy fails to make a text of it
            raise UserError(f"{path}: has text that is not Unicode")
    array = array.reshape(header.shape, order="F" if header.fortran else "C")
    # The bytes of booleans may be others than 0 and 1, with which NumPy counts wrongly.
    return array.view(np.uint8) != 0 if array.dtype == bool else array


def read_header(path: str | Path, kinds: str = NUMBERS) -> Header:
    """Reads the header of a `.npy` file, and compares it with the size of the file.

    Raises:
        UserError: As `parse_array`; or it is missing or no regular file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            return _parse_header(file.read(_LONGEST_HEADER), path.stat().st_size, path, kinds)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_arrays(
    path: str | Path, kinds: Mapping[str, str] | str = NUMBERS, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.npz` file.

    Args:
        path: The file.
        kinds: The kinds of dtypes that are valid: of each name that is read, or of all names.
        max_bytes: The most that the arrays may take together.

    Returns:
        The arrays by name; a name that the file lacks is left out.

    Raises:
        UserError: As `parse_array`; or the file is missing, or would take more memory.
    """
    return parse_arrays(read_file(path, max_bytes), path, kinds, max_bytes)


def parse_arrays(
    content: bytes, path: object, kinds: Mapping[str, str] | str, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Parses the content of a `.npz` file; see `read_arrays`."""
    if _directory_bytes(content) > _LONGEST_DIRECTORY:
        raise UserError(f"{path}: has more than {MAX_MEMBERS} arrays")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # zipfile raises many kinds for damaged files
        raise UserError(f"{path}: is not an .npz file: {_reason(error)}") from error
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if not isinstance(kinds, str):
            members = {name: info for name, info in members.items() if name in kinds}
        _check_members(members.values(), path, max_bytes)
        return {
            name: parse_array(
                _inflated(archive, info, path),
                f"{path}: {name}",
                kinds if isinstance(kinds, str) else kinds[name],
            )
            for name, info in members.items()
        }


def _directory_bytes(content: bytes) -> int:
    """The size of the list of an archive's members, which zipfile parses at once.

    The larger one of what its two ways to find the end of an archive say.
    """
    ends = (len(content) - _END.size, content.rfind(_END_MARK, max(len(content) - 2**16 - 22, 0)))
    sizes = [0]
    for end in ends:
        if end >= 0 and content[end : end + 4] == _END_MARK and end + _END.size <= len(content):
            sizes.append(_END.unpack_from(content, end)[5])
            if content[max(end - 20, 0) : end].startswith(_END_64_MARK):
                return len(content)  # for archives of 4 GiB and more
    return max(sizes)


def _check_members(members: Collection[zipfile.ZipInfo], path: object, max_bytes: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{path}: has {len(members)} arrays; at most {MAX_MEMBERS}")
    total = sum(info.file_size for info in members)
    if total > max_bytes:
        raise UserError(f"{path}: its arrays take {total} bytes; at most {max_bytes}")
    for info in members:
        if info.compress_type not in _METHODS:
            raise UserError(f"{path}: {info.filename} is not stored or deflated")
        if info.file_size > _HIGHEST_RATIO * (info.compress_size + 1):
            raise UserError(f"{path}: {info.filename} cannot have {info.file_size} bytes")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: object) -> bytearray:
    content, done = bytearray(info.file_size), 0
    try:
        with archive.open(info) as file:
            # A piece at a time: it would be there twice otherwise.
            while piece := file.read(2**20):
                content[done : done + len(piece)] = piece
                done += len(piece)
    except Exception as error:  # of zlib, zipfile and struct
        raise UserError(f"{path}: {info.filename} is damaged: {_reason(error)}") from error
    if done != info.file_size:
        raise UserError(f"{path}: {info.filename} is cut off")
    return content


def _parse_header(start: bytes | bytearray, size: int, path: object, kinds: str) -> Header:
    """Parses the first bytes of a file that has `size` bytes."""
    file = io.BytesIO(start)
    try:
        shape, fortran, dtype = _HEADERS[npy.read_magic(file)](file)
    except Exception as error:  # the header is a Python literal, which is parsed as such
        raise UserError(f"{path}: is not a NumPy array: {_reason(error)}") from error
    if dtype.kind not in kinds or dtype.hasobject or not dtype.itemsize:
        valid = ", ".join(words for kind, words in _WORDS.items() if kind in kinds)
        raise UserError(f"{path}: is an array of {dtype}; valid: {valid}")
    if len(shape) > _MAX_DIMENSIONS or not all(0 <= side < 2**62 for side in shape):
        raise UserError(f"{path}: has the shape {shape}; valid: at most {_MAX_DIMENSIONS} axes")
    need, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if need > there:
        raise UserError(f"{path}: is cut off: its array takes {need} bytes, and {there} are there")
    return Header(shape, fortran, dtype, file.tell())


def _reason(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
