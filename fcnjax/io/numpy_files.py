"""Read untrusted `.npy` and `.npz` files, without pickles and with limited memory.

NumPy itself allocates as much as a header or an archive claims to need.
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

_KIND_NAMES = {
    "b": "booleans",
    "i": "integers",
    "u": "unsigned integers",
    "f": "floats",
    "U": "text",
}
NUMBERS = "biuf"  # kinds as in `numpy.dtype.kind`
TEXTS = "U"
MAX_BYTES = 512 * 2**20  # of all arrays of an archive together
MAX_MEMBERS = 1000  # of an archive
_MAX_DIMENSIONS = 8
_MAX_HEADER = 2**14  # bytes; NumPy's own limit is 10,000 characters
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_DIRECTORY = 2**10 * MAX_MEMBERS  # bytes
_END_MARK, _END_64_MARK = b"PK\5\6", b"PK\6\7"
_END = struct.Struct("<4s4H2LH")
_MAX_RATIO = 1100  # deflate reaches 1032
_HEADERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    # Differs from 2.0 only in the names of fields, which these arrays do not have.
    (3, 0): npy.read_array_header_2_0,
}


class Header(NamedTuple):
    """The header of a `.npy` file.

    Attributes:
        shape: The shape of the array.
        fortran: Whether the first axis varies fastest.
        dtype: The type of its elements.
        start: The offset of the first element in the file.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int


def parse_array(content: bytes | bytearray, path: object, kinds: str = NUMBERS) -> np.ndarray:
    """Parse the content of a `.npy` file.

    Args:
        content: The bytes; the array shares their memory.
        path: The file, for errors.
        kinds: The valid kinds of dtypes, such as `NUMBERS`.

    Raises:
        UserError: It is damaged, truncated, of another kind, or has more than eight dimensions.
    """
    header = _parse_header(content[:_MAX_HEADER], len(content), path, kinds)
    count = math.prod(header.shape)
    array = np.frombuffer(content, header.dtype, count, header.start if count else 0)
    if header.dtype.kind == "U":
        codes = array.view(np.dtype(np.uint32).newbyteorder(header.dtype.byteorder))
        if codes.max(initial=0) > sys.maxunicode:  # NumPy cannot convert it to str
            raise UserError(f"{path}: has text that is not Unicode")
    array = array.reshape(header.shape, order="F" if header.fortran else "C")
    # Booleans may be stored as bytes other than 0 and 1, which NumPy would count wrongly.
    return array.view(np.uint8) != 0 if array.dtype == bool else array


def read_header(path: str | Path, kinds: str = NUMBERS) -> Header:
    """Read the header of a `.npy` file, and compare it with the size of the file.

    Raises:
        UserError: As `parse_array`, or the file is missing or not regular.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            return _parse_header(file.read(_MAX_HEADER), path.stat().st_size, path, kinds)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_arrays(
    path: str | Path, kinds: Mapping[str, str] | str = NUMBERS, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Read the arrays of a `.npz` file.

    Args:
        path: The file.
        kinds: The valid kinds of dtypes: for each name to read, or for all arrays.
        max_bytes: Limit of the memory of all arrays together.

    Returns:
        The arrays by name. Names that the file does not contain are left out.

    Raises:
        UserError: As `parse_array`, or the file is missing or needs more memory.
    """
    return parse_arrays(read_file(path, max_bytes), path, kinds, max_bytes)


def parse_arrays(
    content: bytes, path: object, kinds: Mapping[str, str] | str, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Parse the content of a `.npz` file; see `read_arrays`."""
    if _directory_bytes(content) > _MAX_DIRECTORY:
        raise UserError(f"{path}: has more than {MAX_MEMBERS} arrays")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # zipfile raises many types for damaged files
        raise UserError(f"{path}: is not an .npz file: {_reason(error)}") from error
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if not isinstance(kinds, str):
            members = {name: info for name, info in members.items() if name in kinds}
        _check_members(members.values(), path, max_bytes)
        return {
            name: parse_array(
                _inflate(archive, info, path),
                f"{path}: {name}",
                kinds if isinstance(kinds, str) else kinds[name],
            )
            for name, info in members.items()
        }


def _directory_bytes(content: bytes) -> int:
    """Return the size of an archive's directory, which zipfile parses at once.

    zipfile finds the end of an archive in two ways. The result is the larger size of both.
    """
    ends = (len(content) - _END.size, content.rfind(_END_MARK, max(len(content) - 2**16 - 22, 0)))
    sizes = [0]
    for end in ends:
        if end >= 0 and content[end : end + 4] == _END_MARK and end + _END.size <= len(content):
            sizes.append(_END.unpack_from(content, end)[5])
            if content[max(end - 20, 0) : end].startswith(_END_64_MARK):
                return len(content)  # used by archives of 4 GiB and more
    return max(sizes)


def _check_members(members: Collection[zipfile.ZipInfo], path: object, max_bytes: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{path}: has {len(members)} arrays; at most {MAX_MEMBERS}")
    total = sum(info.file_size for info in members)
    if total > max_bytes:
        raise UserError(f"{path}: its arrays need {total} bytes; at most {max_bytes}")
    for info in members:
        if info.compress_type not in _METHODS:
            raise UserError(f"{path}: {info.filename} is not stored or deflated")
        if info.file_size > _MAX_RATIO * (info.compress_size + 1):
            raise UserError(f"{path}: {info.filename} cannot have {info.file_size} bytes")


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: object) -> bytearray:
    content, done = bytearray(info.file_size), 0
    try:
        with archive.open(info) as file:
            # In pieces, since reading at once would need twice the memory.
            while piece := file.read(2**20):
                content[done : done + len(piece)] = piece
                done += len(piece)
    except Exception as error:  # of zlib, zipfile and struct
        raise UserError(f"{path}: {info.filename} is damaged: {_reason(error)}") from error
    if done != info.file_size:
        raise UserError(f"{path}: {info.filename} is truncated")
    return content


def _parse_header(start: bytes | bytearray, size: int, path: object, kinds: str) -> Header:
    """Parse the first bytes of a file of `size` bytes."""
    file = io.BytesIO(start)
    try:
        shape, fortran, dtype = _HEADERS[npy.read_magic(file)](file)
    except Exception as error:  # the header is parsed as a Python literal
        raise UserError(f"{path}: is not a NumPy array: {_reason(error)}") from error
    if dtype.kind not in kinds or dtype.hasobject or not dtype.itemsize:
        valid = ", ".join(name for kind, name in _KIND_NAMES.items() if kind in kinds)
        raise UserError(f"{path}: is an array of {dtype}; valid: {valid}")
    if len(shape) > _MAX_DIMENSIONS or not all(0 <= side < 2**62 for side in shape):
        raise UserError(f"{path}: has the shape {shape}; valid: at most {_MAX_DIMENSIONS} axes")
    expected, present = math.prod(shape) * dtype.itemsize, size - file.tell()
    if expected > present:
        raise UserError(f"{path}: is truncated: its array needs {expected} bytes of {present}")
    return Header(shape, fortran, dtype, file.tell())


def _reason(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
