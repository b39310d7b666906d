"""Values of DICOM elements, checked: the only code that accesses pydicom's datasets."""

import math
from collections.abc import MutableSequence
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.readers.volumes.library_errors import errors_of
from fcnjax.errors import UserError, printable

LONGEST_VALUE = 1024  # bytes, of numbers and of texts that are shown
LONGEST_TABLE = 2**18  # bytes, of a look-up table of 65536 values of 16 bits
# Bytes and items of a sequence. An element has 8 bytes or more, and takes 500 in memory.
LONGEST_SEQUENCE, MOST_ITEMS = 2**20, 2**18
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # begin an item, in either byte order
_LONGEST_TEXT = 64  # letters, as of the types UI and LO
_SHOWN = 40  # letters of a value that an error shows


class Values:
    """The values of a dataset.

    Args:
        path: Its file, for errors.
        data: pydicom's dataset.
    """

    def __init__(self, path: Path, data: Any):
        self.path = path
        self._data = data

    def text(self, name: str) -> str:
        """A text, or a UID, as one line; "" where it is absent.

        Raises:
            UserError: It is no text.
        """
        value = self._value(name, LONGEST_VALUE)
        if value is None:
            return ""
        parts = [value] if isinstance(value, str) else value
        if isinstance(parts, MutableSequence) and all(isinstance(p, str) for p in parts):
            return printable("\\".join(map(str, parts))).strip()[:_LONGEST_TEXT]
        raise self._wrong(name, value, "a text")

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number.

        Args:
            name: Keyword of the element.
            least: The smallest valid one.
            most: The largest valid one.
            default: Returned where it is absent; None: it must be there.

        Raises:
            UserError: It is absent, no whole number or out of range.
        """
        value = self._value(name, LONGEST_VALUE)
        if value is None and default is not None:
            return default
        valid = f"a whole number from {least} to {most}"
        if value is None:
            raise UserError(f"{self.path}: has no {name}; valid: {valid}")
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, value, valid)
        return int(value)

    def whole_numbers(self, name: str, count: int) -> tuple[int, ...]:
        """So many whole numbers of at most 16 bits.

        Raises:
            UserError: It is absent, or something else.
        """
        numbers = self.numbers(name, count, 2**16) or ()
        if len(numbers) != count or not all(number.is_integer() for number in numbers):
            raise UserError(f"{self.path}: has no {name} of {count} whole numbers")
        return tuple(map(int, numbers))

    def numbers(self, name: str, count: int, most: float) -> tuple[float, ...] | None:
        """So many numbers; None where the element is absent.

        Args:
            name: Keyword of the element.
            count: How many it has.
            most: The largest valid absolute value.

        Raises:
            UserError: They are of another count, no numbers, not finite or too large.
        """
        value = self._value(name, LONGEST_VALUE)
        if value is None:
            return None
        parts = [value] if isinstance(value, int | float | str) else value
        valid = f"{count} {'number' if count == 1 else 'numbers'} of at most {most:g}"
        if isinstance(parts, bytes) or not hasattr(parts, "__len__") or len(parts) != count:
            raise self._wrong(name, value, valid)
        if not all(isinstance(part, int | float) for part in parts):
            raise self._wrong(name, value, valid)
        try:
            numbers = tuple(float(part) for part in parts)
        except OverflowError:
            raise self._wrong(name, value, valid) from None
        # NaN compares as false.
        if not all(math.isfinite(number) and abs(number) <= most for number in numbers):
            raise self._wrong(name, value, valid)
        return numbers

    def table(self, name: str, length: int, bits: int) -> np.ndarray:
        """The values of a look-up table, uint8 or uint16.

        Raises:
            UserError: It is absent, or does not hold such values.
        """
        value = self._value(name, LONGEST_TABLE)
        if isinstance(value, bytes):
            if len(value) < 2 * length:
                raise UserError(f"{self.path}: {name} has {len(value)} bytes; valid: {2 * length}")
            order = "<" if self._data.original_encoding[1] else ">"
            value = np.frombuffer(value[: 2 * length], f"{order}u2")
        with errors_of(self.path, "DICOM"):
            found = np.atleast_1d(np.asarray(value))
        if found.dtype.kind not in "iu" or found.ndim != 1 or not found.size:
            raise UserError(f"{self.path}: {name} holds no whole numbers")
        if found.min() < 0 or found.max() >= 2**bits:
            raise UserError(f"{self.path}: {name} holds values that {bits} bits do not")
        return found.astype(f"u{bits // 8}")

    def bytes(self, name: str) -> bytes:
        """The bytes of an element; of no length where it is absent.

        Raises:
            UserError: It holds something else.
        """
        value = self._value(name, None)
        if value is None:
            return b""
        if not isinstance(value, bytes):
            raise self._wrong(name, value, "bytes")
        return value

    def items(self, name: str, longest: int = LONGEST_SEQUENCE) -> list["Values"]:
        """The items of a sequence; none where it is absent.

        Args:
            name: Keyword of the element.
            longest: The most bytes that it may have where its length is given.

        Raises:
            UserError: It is no sequence, or too long.
        """
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        value = self._value(name, longest)
        if value is None:
            return []
        if not isinstance(value, Sequence):
            raise self._wrong(name, value, "a sequence")
        with errors_of(self.path, "DICOM"):
            items = list(value)
        if not all(isinstance(item, Dataset) for item in items):
            raise self._wrong(name, value, "a sequence")
        return [Values(self.path, item) for item in items]

    def _value(self, name: str, longest: int | None) -> Any:
        """The value of an element as pydicom converts it; None where it is absent or empty."""
        with errors_of(self.path, "DICOM"):
            element = self._data.get_item(name)
            stored = getattr(element, "value", None)
            length = len(stored) if isinstance(stored, bytes) else 0
        if longest is not None and length > longest:
            raise UserError(f"{self.path}: {name} has {length} bytes; valid: at most {longest}")
        may_have = length // 8 if longest is not None else 0  # bytes of pixels may look like items
        if may_have > MOST_ITEMS and max(map(stored.count, _ITEMS)) > MOST_ITEMS:
            raise UserError(f"{self.path}: {name} has more than {MOST_ITEMS} items")
        if element is None:
            return None
        with errors_of(self.path, "DICOM"):
            value = self._data[name].value
            is_empty = value is None or (hasattr(value, "__len__") and not len(value))
        return None if is_empty else value

    def _wrong(self, name: str, value: Any, valid: str) -> UserError:
        from pydicom.sequence import Sequence

        # Text of a sequence would be all that is in it.
        shown = "a sequence" if isinstance(value, Sequence) else _shown(self.path, value)
        return UserError(f"{self.path}: {name} is {shown}; valid: {valid}")


def _shown(path: Path, value: Any) -> str:
    """The beginning of a value, for an error."""
    with errors_of(path, "DICOM"):
        text = printable(str(value[:_SHOWN] if isinstance(value, bytes) else value))
    return repr(f"{text[:_SHOWN]}..." if len(text) > _SHOWN else text)
