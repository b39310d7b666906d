"""Reading of the elements of a DICOM file (PS3.10), limited in number and size."""

import io
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fcnjax.data.readers.errors import decode_error, decode_errors
from fcnjax.data.readers.limits import VARIABLE, TooLarge
from fcnjax.data.readers.volumes.dicom_values import Values
from fcnjax.data.readers.volumes.limits import inflated_limit
from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular

MAGIC_AT, MAGIC = 128, b"DICM"
# An element takes one or two reads, of 3 microseconds each; a group of a frame without a length
# takes about 100.
MAX_READS = 1_200_000


class Elements(NamedTuple):
    """Elements of a file.

    Attributes:
        syntax: UID of its transfer syntax; "" if the file has none.
        storage_class: UID of its class; "" if the file has none.
        data: pydicom's dataset, for `Values`.
    """

    syntax: str
    storage_class: str
    data: Any


def read_elements(path: Path, keywords: Sequence[str], with_pixels: bool = False) -> Elements:
    """Read some elements of a file; the others are not kept in memory.

    Args:
        path: The file.
        keywords: pydicom's keywords of the elements.
        with_pixels: Whether to read on where the pixels begin.

    Raises:
        UserError: The file is not DICOM, is damaged, or has too many elements.
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    tags = [tag_for_keyword(keyword) for keyword in keywords]
    with open_regular(path) as opened:
        size = os.fstat(opened.fileno()).st_size
        file: Any = _Bounded(path, opened, size)
        file.seek(MAGIC_AT)
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{path}: is not a DICOM file: there is no DICM at byte {MAGIC_AT}")
        with decode_errors(path, "DICOM"):
            meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        syntax = Values(path, meta).text("TransferSyntaxUID")
        storage_class = Values(path, meta).text("MediaStorageSOPClassUID")
        with decode_errors(path, "DICOM"):
            uid = UID(syntax) if syntax and UID(syntax).is_transfer_syntax else None
            # An unknown syntax is read as explicit and little endian, as all compressed ones are.
            implicit, little = (uid.is_implicit_VR, uid.is_little_endian) if uid else (False, True)
            is_deflated = bool(uid and uid.is_deflated)
        if is_deflated:
            content = _inflate(path, opened, size)
            file = _Bounded(path, io.BytesIO(content), len(content))
        stop = None if with_pixels else _at_pixels
        with decode_errors(path, "DICOM"):
            data = read_dataset(file, implicit, little, stop_when=stop, specific_tags=tags)
    return Elements(syntax, storage_class, data)


def _at_pixels(tag: int, *_: Any) -> bool:
    return tag >= 0x7FE00001  # the extended offset table, and what follows it


class _Bounded:
    """A file whose reads are limited to its size, and in number.

    pydicom would allocate a buffer of the length that an element claims.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int):
        self.name = str(path)
        self._path = path
        self._file = file
        self._size = size
        self._reads = 0
        self.tell = file.tell

    def read(self, count: int = -1) -> bytes:
        """Read at most `count` bytes; all that follow for -1."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise UserError(f"{self._path}: has too many data elements; is it an image?")
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, as files do."""
        return self._file.seek(offset, whence)


def _inflate(path: Path, file: BinaryIO, size: int) -> bytes:
    """Decompress the elements of a deflated file (PS3.5, A.5) from the current position."""
    limit = inflated_limit(size)
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = engine.decompress(file.read(), limit)
    except zlib.error as error:
        raise decode_error(path, str(error), "DICOM") from error
    if not engine.eof and len(content) >= limit:
        raise TooLarge(
            f"{path}: inflates to more than {limit} bytes from {size}; set the environment "
            f"variable {VARIABLE} to read it"
        )
    if not engine.eof:
        raise UserError(f"{path}: was cut off: its deflated elements do not end")
    return content
