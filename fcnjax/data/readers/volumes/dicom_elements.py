"""Reads the elements of a DICOM file (PS3.10), as many and as large as their limits allow."""

import io
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fcnjax.data.readers.limits import VARIABLE, TooLarge
from fcnjax.data.readers.volumes.dicom_values import Values
from fcnjax.data.readers.volumes.library_errors import errors_of
from fcnjax.data.readers.volumes.limits import inflated_limit
from fcnjax.errors import UserError

MAGIC_AT, MAGIC = 128, b"DICM"
# An element takes one read or two, of 3 microseconds. Of the groups of frames, where no length is
# given, it is some 100 a frame.
MOST_READS = 1_200_000


class Elements(NamedTuple):
    """The elements of a file.

    Attributes:
        syntax: UID of its transfer syntax; "": the file does not say.
        storage_class: UID of its class; "": the file does not say.
        data: pydicom's dataset, for `Values`.
    """

    syntax: str
    storage_class: str
    data: Any


def read_elements(path: Path, keywords: Sequence[str], with_pixels: bool = False) -> Elements:
    """Reads some elements of a file; the others are not held in memory.

    Args:
        path: The file.
        keywords: Which, by pydicom's keywords.
        with_pixels: Read on where the pixels begin.

    Raises:
        UserError: The file is no DICOM file, is damaged, or has too many elements.
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    tags = [tag_for_keyword(keyword) for keyword in keywords]
    with _opened(path) as opened:
        size = os.fstat(opened.fileno()).st_size
        file: Any = _Bounded(path, opened, size)
        file.seek(MAGIC_AT)
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{path}: is no DICOM file: there is no DICM at byte {MAGIC_AT}")
        with errors_of(path, "DICOM"):
            meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        syntax = Values(path, meta).text("TransferSyntaxUID")
        storage_class = Values(path, meta).text("MediaStorageSOPClassUID")
        with errors_of(path, "DICOM"):
            # Anything unknown is explicit and little endian, as all compressed ones are.
            known = UID(syntax) if syntax and UID(syntax).is_transfer_syntax else None
            implicit, little = (
                (known.is_implicit_VR, known.is_little_endian) if known else (False, True)
            )
            is_deflated = bool(known and known.is_deflated)
        if is_deflated:
            content = _inflated(path, opened, size)
            file = _Bounded(path, io.BytesIO(content), len(content))
        stop = None if with_pixels else _at_pixels
        with errors_of(path, "DICOM"):
            data = read_dataset(file, implicit, little, stop_when=stop, specific_tags=tags)
    return Elements(syntax, storage_class, data)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _at_pixels(tag: int, *_: Any) -> bool:
    return tag >= 0x7FE00001  # the extended offset table, and what follows it


class _Bounded:
    """A file of which no read asks for more than there is, or than is reasonable.

    A buffer of the length that an element claims would be taken before it is read.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int):
        self.name = str(path)
        self._path = path
        self._file = file
        self._size = size
        self._reads = 0
        self.tell = file.tell

    def read(self, count: int = -1) -> bytes:
        """Read at most so many bytes; all that follow for -1."""
        self._reads += 1
        if self._reads > MOST_READS:
            raise UserError(f"{self._path}: has too many data elements; is it an image?")
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place, as files do."""
        return self._file.seek(offset, whence)


def _inflated(path: Path, file: BinaryIO, size: int) -> bytes:
    """The elements of a deflated file (PS3.5, A.5), from where it is on."""
    most = inflated_limit(size)
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = engine.decompress(file.read(), most)
    except zlib.error as error:
        raise UserError(f"{path}: cannot be read as DICOM: {error}") from error
    if not engine.eof and len(content) >= most:
        raise TooLarge(
            f"{path}: is deflated from more than {most} bytes, and has {size}; larger ones are "
            f"read where the environment variable {VARIABLE} is set"
        )
    if not engine.eof:
        raise UserError(f"{path}: was cut off: its deflated elements do not end")
    return content
