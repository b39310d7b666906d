"""Elements of a DICOM file (PS3.10), limited in number and size, and their checked values.

This is the only code that accesses pydicom's datasets.
"""

import contextlib
import io
import math
import os
import zlib
from collections.abc import MutableSequence, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fcnjax.data.readers.errors import decode_error, decode_errors
from fcnjax.data.readers.limits import VARIABLE, TooLarge, inflated_limit
from fcnjax.errors import UserError, printable
from fcnjax.io.regular_files import open_regular

MAX_VALUE_BYTES = 1024  # of numbers, and of texts that are shown
MAX_TABLE_BYTES = 2**18  # of a look-up table of 65536 values of 16 bits
# Bytes and items of a sequence. An element has 8 bytes or more, and takes 500 in memory.
MAX_SEQUENCE_BYTES, MAX_ITEMS = 2**20, 2**18
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # start of an item, in either byte order
_MAX_TEXT = 64  # characters, as of the types UI and LO
_SHOWN = 40  # characters of a value that an error shows
MAGIC_AT, MAGIC = 128, b"DICM"
# An element takes one or two reads, of 3 microseconds each; a group of a frame without a length
# takes about 100.
MAX_READS = 1_200_000


class Values:
    """The values of a dataset.

    Args:
        path: The file, for errors.
        data: pydicom's dataset.
    """

    def __init__(self, path: Path, data: Any):
        self.path = path
        self._data = data

    def text(self, name: str) -> str:
        """Return a text or UID as one line; "" if it is absent.

        Raises:
            UserError: The value is not text.
        """
        value = self._value(name, MAX_VALUE_BYTES)
        if value is None:
            return ""
        parts = [value] if isinstance(value, str) else value
        if isinstance(parts, MutableSequence) and all(isinstance(p, str) for p in parts):
            return printable("\\".join(map(str, parts))).strip()[:_MAX_TEXT]
        raise self._invalid(name, value, "a text")

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return an integer.

        Args:
            name: Keyword of the element.
            low: The smallest valid value.
            high: The largest valid value.
            default: Returned if the element is absent; None: it is required.

        Raises:
            UserError: The element is absent, not an integer, or out of range.
        """
        value = self._value(name, MAX_VALUE_BYTES)
        if value is None and default is not None:
            return default
        valid = f"a whole number from {low} to {high}"
        if value is None:
            raise UserError(f"{self.path}: has no {name}; valid: {valid}")
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._invalid(name, value, valid)
        return int(value)

    def integers(self, name: str, count: int) -> tuple[int, ...]:
        """Return `count` integers of at most 16 bits.

        Raises:
            UserError: The element is absent, or holds something else.
        """
        numbers = self.numbers(name, count, 2**16) or ()
        if len(numbers) != count or not all(number.is_integer() for number in numbers):
            raise UserError(f"{self.path}: has no {name} of {count} whole numbers")
        return tuple(map(int, numbers))

    def numbers(self, name: str, count: int, limit: float) -> tuple[float, ...] | None:
        """Return `count` numbers; None if the element is absent.

        Args:
            name: Keyword of the element.
            count: The valid count of numbers.
            limit: The largest valid absolute value.

        Raises:
            UserError: The count is wrong, or the values are not finite numbers within the limit.
        """
        value = self._value(name, MAX_VALUE_BYTES)
        if value is None:
            return None
        parts = [value] if isinstance(value, int | float | str) else value
        valid = f"{count} {'number' if count == 1 else 'numbers'} of at most {limit:g}"
        is_list = hasattr(parts, "__len__") and not isinstance(parts, bytes)
        if is_list and len(parts) == count and all(isinstance(p, int | float) for p in parts):
            with contextlib.suppress(OverflowError):
                numbers = tuple(map(float, parts))
                # Any comparison with NaN is false.
                if all(math.isfinite(number) and abs(number) <= limit for number in numbers):
                    return numbers
        raise self._invalid(name, value, valid)

    def table(self, name: str, length: int, bits: int) -> np.ndarray:
        """Return the values of a look-up table, uint8 or uint16.

        Raises:
            UserError: The element is absent, or does not hold such values.
        """
        value = self._value(name, MAX_TABLE_BYTES)
        if isinstance(value, bytes):
            if len(value) < 2 * length:
                raise UserError(f"{self.path}: {name} has {len(value)} bytes; valid: {2 * length}")
            order = "<" if self._data.original_encoding[1] else ">"
            value = np.frombuffer(value[: 2 * length], f"{order}u2")
        with decode_errors(self.path, "DICOM"):
            table = np.atleast_1d(np.asarray(value))
        if table.dtype.kind not in "iu" or table.ndim != 1 or not table.size:
            raise UserError(f"{self.path}: {name} holds no whole numbers")
        if table.min() < 0 or table.max() >= 2**bits:
            raise UserError(f"{self.path}: {name} holds values of more than {bits} bits")
        return table.astype(f"u{bits // 8}")

    def bytes(self, name: str) -> bytes:
        """Return the bytes of an element; none if it is absent.

        Raises:
            UserError: The element holds something else.
        """
        value = self._value(name, None)
        if value is None:
            return b""
        if not isinstance(value, bytes):
            raise self._invalid(name, value, "bytes")
        return value

    def items(self, name: str, max_bytes: int = MAX_SEQUENCE_BYTES) -> list["Values"]:
        """Return the items of a sequence; none if it is absent.

        Args:
            name: Keyword of the element.
            max_bytes: The largest size of a sequence that states its length.

        Raises:
            UserError: The element is not a sequence, or is too long.
        """
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        value = self._value(name, max_bytes)
        if value is None:
            return []
        if not isinstance(value, Sequence):
            raise self._invalid(name, value, "a sequence")
        with decode_errors(self.path, "DICOM"):
            items = list(value)
        if not all(isinstance(item, Dataset) for item in items):
            raise self._invalid(name, value, "a sequence")
        return [Values(self.path, item) for item in items]

    def _value(self, name: str, max_bytes: int | None) -> Any:
        """Return the value of an element as pydicom converts it; None if absent or empty."""
        with decode_errors(self.path, "DICOM"):
            element = self._data.get_item(name)
            stored = getattr(element, "value", None)
            length = len(stored) if isinstance(stored, bytes) else 0
        if max_bytes is not None and length > max_bytes:
            raise UserError(f"{self.path}: {name} has {length} bytes; valid: at most {max_bytes}")
        max_items = length // 8 if max_bytes is not None else 0  # pixel bytes may look like items
        if max_items > MAX_ITEMS and max(map(stored.count, _ITEMS)) > MAX_ITEMS:
            raise UserError(f"{self.path}: {name} has more than {MAX_ITEMS} items")
        if element is None:
            return None
        with decode_errors(self.path, "DICOM"):
            value = self._data[name].value
            is_empty = value is None or (hasattr(value, "__len__") and not len(value))
        return None if is_empty else value

    def _invalid(self, name: str, value: Any, valid: str) -> UserError:
        from pydicom.sequence import Sequence

        # The text of a sequence would contain all its items.
        shown = "a sequence" if isinstance(value, Sequence) else _shown(self.path, value)
        return UserError(f"{self.path}: {name} is {shown}; valid: {valid}")


def _shown(path: Path, value: Any) -> str:
    """Return the beginning of a value, for an error."""
    with decode_errors(path, "DICOM"):
        text = printable(str(value[:_SHOWN] if isinstance(value, bytes) else value))
    return repr(f"{text[:_SHOWN]}..." if len(text) > _SHOWN else text)


class Elements(NamedTuple):
    """Elements of a file.

    Attributes:
        syntax: UID of its transfer syntax; "" if the file has none.
        storage_class: UID of its class; "" if the file has none.
        data: Their values.
    """

    syntax: str
    storage_class: str
    data: Values


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
        values = Values(path, meta)
        syntax, storage_class = map(values.text, ("TransferSyntaxUID", "MediaStorageSOPClassUID"))
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
    return Elements(syntax, storage_class, Values(path, data))


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
