"""Conversion of the stored values of masks to class ids."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_files import read_colours, read_ids, read_onehot
from fcnjax.data.readers.conversion import NO_DATA, map_rows, row_blocks
from fcnjax.data.readers.stored_pixels import Size
from fcnjax.errors import UserError, choose

# Names of encodings, with their meaning. Each mask is read as integers `[H, W]`, whose classes
# `config.data.labels.mask_values` lists.
ENCODINGS = MappingProxyType(
    {
        "ids": "class ids, grey levels such as 0 and 255, or palette indices",
        "rgb": "a colour a class: config.data.labels.mask_colours; the value is its index there",
        "onehot": "a channel a class, in a .npy file [H, W, K] or [K, H, W]; the value is the "
        "channel, and K where none is set",
        "instances": "a number an object, 0 for none; the value is 1 for any object",
    }
)


class LabelReader:
    """Reader of mask files as class ids: `read(path, size) -> [H, W]`.

    Args:
        data: `config.data`, resolved.
    """

    def __init__(self, data: ConfigDict):
        self._read = _reader(data)
        self._classes = ClassTable(data)

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """Read the class ids `[H, W]` of a file, uint8, or int32 for more than 255 classes.

        Args:
            path: The file.
            size: Height and width of its image, which tell the channels of an array.

        Raises:
            UserError: The file cannot be read, or has a value that is not a class.
        """
        return self._classes(self._read(path, size), path)


def _reader(data: ConfigDict) -> Callable[[Path, Size], np.ndarray]:
    encoding = data.labels.encoding or "ids"
    choose(ENCODINGS, encoding, "config.data.labels.encoding")
    if encoding == "rgb":
        return ColourTable(data.labels.mask_colours).read
    if encoding == "onehot":
        return functools.partial(
            _read_channels, declared_values(data) | {*data.labels.ignore_values}
        )
    if encoding == "instances":
        return functools.partial(_read_objects, tuple(data.labels.ignore_values))
    return functools.partial(_read_ids, declared_values(data))


def _read_ids(declared: frozenset[int], path: Path, size: Size) -> np.ndarray:
    """Read class ids; a nodata value that is not a class becomes `NO_DATA`."""
    return replace_nodata(*read_ids(path, size), declared)


def _read_objects(ignored: Sequence[int], path: Path, size: Size) -> np.ndarray:
    """Read instance numbers, all of which become 1."""
    return to_foreground(replace_nodata(*read_ids(path, size), {0}), ignored, path)


def _read_channels(declared: frozenset[int], path: Path, size: Size) -> np.ndarray:
    """Read the active channel of each pixel; refuse pixels of none, unless declared."""
    channels = read_onehot(path, size)
    stored, count = active_channel(channels, path), channels.shape[-1]
    if count not in declared and (stored == count).any():
        raise UserError(f"{path}: {describe_unset((stored == count).mean(), count)}")
    return stored


def declared_values(data: ConfigDict) -> frozenset[int]:
    """Return the stored values of all classes."""
    return frozenset(value for entry in data.labels.mask_values for value in stored_values(entry))


def replace_nodata(values: np.ndarray, nodata: float | None, declared: Iterable[int]) -> np.ndarray:
    """Replace a file's nodata value by `NO_DATA`.

    Args:
        values: The stored values.
        nodata: The nodata value, or None.
        declared: Values of classes; a nodata value among them is kept.
    """
    if nodata is None or nodata in declared or not (values == nodata).any():
        return values
    return map_rows(
        lambda rows: np.where(rows == nodata, np.int32(NO_DATA), rows.astype(np.int32)), values
    )


def to_foreground(numbers: np.ndarray, ignored: Sequence[int], name: object) -> np.ndarray:
    """Convert instance numbers to 1, 0 for none, and `NO_DATA` for ignored ones.

    Raises:
        UserError: A number is negative; the error names it and `name`.
    """
    return map_rows(lambda rows: _to_foreground(rows, ignored, name), numbers)


def _to_foreground(numbers: np.ndarray, ignored: Sequence[int], name: object) -> np.ndarray:
    void = (numbers == NO_DATA) | np.isin(numbers, ignored)
    negative = (numbers < 0) & ~void
    if negative.any():
        raise UserError(
            f"{name}: has the value {int(numbers[negative][0])}, and objects are numbered from 1; "
            "config.data.labels.ignore_values ignores a number"
        )
    return np.where(void, np.int32(NO_DATA), (numbers > 0).astype(np.int32))


class ClassTable:
    """Look-up table from stored values to classes, by `config.data`.

    `mask_values` has an entry for each class: a value, or several values of one class.
    `ignore_values`, the ignore label itself and `NO_DATA` are ignored.
    """

    def __init__(self, data: ConfigDict):
        self._values = [stored_values(entry) for entry in data.labels.mask_values]
        self._ignore = data.ignore_label
        self._ignored = {self._ignore, *data.labels.ignore_values}
        every = [value for values in self._values for value in values]
        self._low = min([*every, *self._ignored, 0])
        size = max([*every, *self._ignored, 255]) + 1 - self._low
        self._table = np.full(size, -1, np.int32)
        self._table[np.asarray(list(self._ignored)) - self._low] = self._ignore
        # Last: the 255 of a 0/255 mask is a class even if 255 is the ignore label.
        for label, values in enumerate(self._values):
            self._table[np.asarray(values) - self._low] = label
        self._dtype = np.uint8 if len(self._values) <= 255 else np.int32

    def __call__(self, stored: np.ndarray, name: object) -> np.ndarray:
        """Convert stored values to class ids `[H, W]`.

        Raises:
            UserError: A value is not a class; the error names it and `name`.
        """
        if stored.dtype == np.uint8 and self._dtype == np.uint8:
            # OpenCV's look-up is many times faster than NumPy's indexing.
            table = self._table[-self._low :][:256]
            if not cv2.LUT(stored, (table < 0).astype(np.uint8)).any():
                return cv2.LUT(stored, table.astype(np.uint8))
        return map_rows(lambda rows: self._look_up(rows, name), stored)

    def _look_up(self, stored: np.ndarray, name: object) -> np.ndarray:
        index = stored.astype(np.int64) - self._low
        label = self._table[np.clip(index, 0, len(self._table) - 1)]
        wrong = (index < 0) | (index >= len(self._table)) | (label < 0)
        void = stored == NO_DATA
        if (wrong & ~void).any():
            raise self._unknown(int(stored[wrong & ~void].min()), name)
        return np.where(void, self._ignore, label).astype(self._dtype)

    def _unknown(self, value: int, name: object) -> UserError:
        every = [value for values in self._values for value in values]
        valid = ", ".join(map(str, every[:24])) + (", ..." if len(every) > 24 else "")
        if ignored := sorted(self._ignored - set(every)):
            valid += f", and {', '.join(map(str, ignored))} for what is ignored"
        return UserError(
            f"{name}: has the value {value}, which is not a class; valid, by "
            f"config.data.labels.mask_values: {valid}"
        )


def stored_values(entry: int | Sequence[int]) -> tuple[int, ...]:
    """Return the stored values of an entry of `mask_values`."""
    return tuple(entry) if isinstance(entry, list | tuple) else (entry,)


class ColourTable:
    """Conversion of colours to their index in a list."""

    def __init__(self, colours: Iterable[Sequence[int]]):
        self._codes = np.asarray([_code(np.asarray(colour)) for colour in colours], np.int64)
        if not len(self._codes):
            raise UserError(
                "config.data.labels.mask_colours: is empty; an RGB triple for each stored class, "
                "as ((0,0,0),(128,0,0))"
            )
        self._order = np.argsort(self._codes)

    def read(self, path: Path, size: Size) -> np.ndarray:
        """Read the indices of a file's colours, int32 `[H, W]`.

        Args:
            path: The file.
            size: Height and width of its image.

        Raises:
            UserError: The file cannot be read, or has a colour that is not listed.
        """
        colours = read_colours(path, size)
        return map_rows(lambda rows: self._indices(rows, colours, path), colours)

    def _indices(self, rows: np.ndarray, colours: np.ndarray, path: Path) -> np.ndarray:
        codes = _code(rows)
        ordered = self._codes[self._order]
        near = np.minimum(np.searchsorted(ordered, codes), len(ordered) - 1)
        is_listed = ordered[near] == codes
        if not is_listed.all():
            unlisted = int(codes[~is_listed][0])
            colour = (unlisted >> 16, unlisted >> 8 & 255, unlisted & 255)
            count = sum(
                int((_code(colours[block]) == unlisted).sum()) for block in row_blocks(colours)
            )
            raise UserError(
                f"{path}: has the colour {colour}, in {count} pixels, "
                "which config.data.labels.mask_colours does not list; it may come from a mask that "
                "was resized or saved as JPEG"
            )
        return self._order[near].astype(np.int32)


def _code(colours: np.ndarray) -> np.ndarray:
    red, green, blue = (colours[..., i].astype(np.int64) for i in range(3))
    return red << 16 | green << 8 | blue


def describe_unset(share: float, count: int) -> str:
    """Describe pixels that are in none of the channels, and the keys that decide.

    Args:
        share: Their share of all pixels.
        count: Number of channels, which is also the value of these pixels.
    """
    channels = ",".join(map(str, range(count)))
    return (
        f"{share:.2%} of the pixels are in none of the channels; give "
        f"--config.data.labels.mask_values={count},{channels} to make them a class, the "
        f"background, or --config.data.labels.ignore_values={count} to ignore them"
    )


def active_channel(channels: np.ndarray, name: object) -> np.ndarray:
    """Return the active channel of each pixel, or the number of channels for none; int32 `[H, W]`.

    Args:
        channels: `[H, W, K]` bool.
        name: The file, for the error.

    Raises:
        UserError: A pixel has several active channels.
    """
    count = channels.sum(-1)
    if (count > 1).any():
        raise UserError(
            f"{name}: {int((count > 1).sum())} pixels have several classes; one class a pixel can "
            "be trained"
        )
    return np.where(count == 0, channels.shape[-1], channels.argmax(-1)).astype(np.int32)
