"""From the values that a mask stores to class ids."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_files import read_colours, read_ids, read_onehot
from fcnjax.data.labels.orientation import Size
from fcnjax.data.readers.conversion import NO_DATA
from fcnjax.data.readers.row_blocks import map_rows, row_blocks
from fcnjax.errors import UserError, choose

# Name: its meaning. Each reads a file as whole numbers `[H, W]`, which `config.data.mask_values`
# then says the classes of.
ENCODINGS = MappingProxyType(
    {
        "ids": "class ids, grey levels such as 0 and 255, or palette indices",
        "rgb": "a colour a class: config.data.mask_colours; the value is its place there",
        "onehot": "a channel a class, in a .npy file [H, W, K] or [K, H, W]; the value is the "
        "channel, and K where none is set",
        "instances": "a number an object, 0 for none; the value is 1 for any object",
    }
)


class LabelReader:
    """Reads a mask file as class ids: `read(path, size) -> [H, W]`.

    Args:
        data: `config.data`, resolved.
    """

    def __init__(self, data: ConfigDict):
        self._read = _reader(data)
        self._classes = ClassTable(data)

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        """The class ids `[H, W]` of a file, uint8, or int32 for more than 255 classes.

        Args:
            path: The file.
            size: Height and width of its image, which tell the channels of an array.

        Raises:
            UserError: It cannot be read, or has a value that is no class.
        """
        return self._classes(self._read(path, size), path)


def _reader(data: ConfigDict) -> Callable[[Path, Size], np.ndarray]:
    encoding = data.encoding or "ids"
    choose(ENCODINGS, encoding, "config.data.encoding")
    if encoding == "rgb":
        return ColourTable(data.mask_colours).read
    if encoding == "onehot":
        return _Channels(data)
    if encoding == "instances":
        return _Objects(data)
    return _Ids(data)


class _Ids:
    """Reads class ids; the file's value for no data is `NO_DATA` where it is no class."""

    def __init__(self, data: ConfigDict):
        self._declared = declared_values(data)

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        values, nodata = read_ids(path, size)
        return without_nodata(values, nodata, self._declared)


class _Objects:
    """Reads numbers of objects as 1."""

    def __init__(self, data: ConfigDict):
        self._ignored = tuple(data.ignore_values)

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        values, nodata = read_ids(path, size)
        return is_object(without_nodata(values, nodata, {0}), self._ignored, path)


def declared_values(data: ConfigDict) -> frozenset[int]:
    """The stored values of all classes."""
    return frozenset(value for entry in data.mask_values for value in values_of(entry))


def without_nodata(values: np.ndarray, nodata: float | None, declared: Iterable[int]) -> np.ndarray:
    """Stored values, with `NO_DATA` in place of a file's value for no data.

    Args:
        values: The stored values.
        nodata: The value for no data, or None.
        declared: Values of classes: such a one stays.
    """
    if nodata is None or nodata in declared or not (values == nodata).any():
        return values
    return map_rows(
        lambda rows: np.where(rows == nodata, np.int32(NO_DATA), rows.astype(np.int32)), values
    )


def is_object(numbers: np.ndarray, ignored: Sequence[int], name: object) -> np.ndarray:
    """Numbers of objects as 1, 0 for none, and `NO_DATA` for those that are ignored.

    Raises:
        UserError: A number is negative; names it and `name`.
    """
    return map_rows(lambda rows: _is_object(rows, ignored, name), numbers)


def _is_object(numbers: np.ndarray, ignored: Sequence[int], name: object) -> np.ndarray:
    void = (numbers == NO_DATA) | np.isin(numbers, ignored)
    negative = (numbers < 0) & ~void
    if negative.any():
        raise UserError(
            f"{name}: has the value {int(numbers[negative][0])}, and objects are numbered from 1; "
            "config.data.ignore_values ignores a number"
        )
    return np.where(void, np.int32(NO_DATA), (numbers > 0).astype(np.int32))


class ClassTable:
    """The class of each stored value, by `config.data`.

    `mask_values` has an entry for each class: a value, or several that are one class.
    `ignore_values`, and the ignore label itself, are ignored; so is `NO_DATA`.
    """

    def __init__(self, data: ConfigDict):
        self._values = [values_of(entry) for entry in data.mask_values]
        self._ignore = data.ignore_label
        self._ignored = {self._ignore, *data.ignore_values}
        every = [value for values in self._values for value in values]
        self._low = min([*every, *self._ignored, 0])
        size = max([*every, *self._ignored, 255]) + 1 - self._low
        self._table = np.full(size, -1, np.int32)
        self._table[np.asarray(list(self._ignored)) - self._low] = self._ignore
        # Last: the 255 of a 0/255 mask is a class even where 255 is what is ignored.
        for label, values in enumerate(self._values):
            self._table[np.asarray(values) - self._low] = label
        self._dtype = np.uint8 if len(self._values) <= 255 else np.int32

    def __call__(self, stored: np.ndarray, name: object) -> np.ndarray:
        """Class ids `[H, W]` of stored values.

        Raises:
            UserError: A value is no class; names it and `name`.
        """
        if stored.dtype == np.uint8 and self._dtype == np.uint8:
            # Many times as quick as NumPy's indexing.
            table = self._table[-self._low :][:256]
            if not cv2.LUT(stored, (table < 0).astype(np.uint8)).any():
                return cv2.LUT(stored, table.astype(np.uint8))
        return map_rows(lambda rows: self._look_up(rows, name), stored)

    def _look_up(self, stored: np.ndarray, name: object) -> np.ndarray:
        place = stored.astype(np.int64) - self._low
        label = self._table[np.clip(place, 0, len(self._table) - 1)]
        wrong = (place < 0) | (place >= len(self._table)) | (label < 0)
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
            f"{name}: has the value {value}, which is no class; valid, by "
            f"config.data.mask_values: {valid}"
        )


def values_of(entry: int | Sequence[int]) -> tuple[int, ...]:
    """The stored values of an entry of `mask_values`."""
    return tuple(entry) if isinstance(entry, list | tuple) else (entry,)


class ColourTable:
    """Colours as their place in a list."""

    def __init__(self, colours: Iterable[Sequence[int]]):
        self._codes = np.asarray([_code(np.asarray(colour)) for colour in colours], np.int64)
        if not len(self._codes):
            raise UserError(
                "config.data.mask_colours: is empty; an RGB triple for each stored class, as "
                "((0,0,0),(128,0,0))"
            )
        self._order = np.argsort(self._codes)

    def read(self, path: Path, size: Size) -> np.ndarray:
        """The places of a file's colours, int32 `[H, W]`.

        Args:
            path: The file.
            size: Height and width of its image.

        Raises:
            UserError: It cannot be read, or has a colour that is not listed.
        """
        colours = read_colours(path, size)
        return map_rows(lambda rows: self._places(rows, colours, path), colours)

    def _places(self, rows: np.ndarray, colours: np.ndarray, path: Path) -> np.ndarray:
        codes = _code(rows)
        ordered = self._codes[self._order]
        near = np.minimum(np.searchsorted(ordered, codes), len(ordered) - 1)
        known = ordered[near] == codes
        if not known.all():
            strange = int(codes[~known][0])
            colour = (strange >> 16, strange >> 8 & 255, strange & 255)
            count = sum(
                int((_code(colours[block]) == strange).sum()) for block in row_blocks(colours)
            )
            raise UserError(
                f"{path}: has the colour {colour}, in {count} pixels, "
                "which config.data.mask_colours does not list; a mask that was resized, or saved "
                "as JPEG, has such"
            )
        return self._order[near].astype(np.int32)


def _code(colours: np.ndarray) -> np.ndarray:
    red, green, blue = (colours[..., i].astype(np.int64) for i in range(3))
    return red << 16 | green << 8 | blue


class _Channels:
    """Reads the set channel of each pixel; refuses pixels of none, unless the config says."""

    def __init__(self, data: ConfigDict):
        self._known = declared_values(data) | {*data.ignore_values}

    def __call__(self, path: Path, size: Size) -> np.ndarray:
        channels = read_onehot(path, size)
        stored, count = set_channel(channels, path), channels.shape[-1]
        if count not in self._known and (stored == count).any():
            raise UserError(f"{path}: {unset_channels((stored == count).mean(), count)}")
        return stored


def unset_channels(share: float, count: int) -> str:
    """The words on pixels that are in none of the channels, and the keys that decide.

    Args:
        share: Their part of all pixels.
        count: The number of channels, which is the value of these pixels.
    """
    channels = ",".join(map(str, range(count)))
    return (
        f"{share:.2%} of the pixels are in none of the channels; give "
        f"--config.data.mask_values={count},{channels} to make them a class, the background, or "
        f"--config.data.ignore_values={count} to ignore them"
    )


def set_channel(channels: np.ndarray, name: object) -> np.ndarray:
    """The set channel of each pixel, and their number where none is set; int32 `[H, W]`.

    Args:
        channels: `[H, W, K]` bool.
        name: The file, for the error.

    Raises:
        UserError: A pixel has several.
    """
    count = channels.sum(-1)
    if (count > 1).any():
        raise UserError(
            f"{name}: {int((count > 1).sum())} pixels have several classes; one class a pixel can "
            "be trained"
        )
    return np.where(count == 0, channels.shape[-1], channels.argmax(-1)).astype(np.int32)
