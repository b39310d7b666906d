"""From what a mask stores to class ids."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.decode import read_colours, read_mask, read_onehot
from fcnjax.errors import UserError, choose

# Name: what it is. Each reads a file as whole numbers `[H, W]`, which `config.data.mask_values`
# then says the classes of.
ENCODINGS = MappingProxyType(
    {
        "ids": "class ids, grey levels such as 0 and 255, or palette indices",
        "rgb": "a colour a class: config.data.mask_colours; the value is its place there",
        "onehot": "a channel a class, in a .npy file [H, W, K]; the value is the channel",
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

    def __call__(self, path: Path, size: tuple[int, int]) -> np.ndarray:
        """The class ids `[H, W]` of a file, uint8, or int32 for more than 255 classes.

        Raises:
            UserError: It cannot be read, or has a value that is no class.
        """
        del size  # the file has its own
        return self._classes(self._read(path), path)


def _reader(data: ConfigDict) -> Callable[[Path], np.ndarray]:
    encoding = data.encoding or "ids"
    choose(ENCODINGS, encoding, "config.data.encoding")
    if encoding == "rgb":
        return ColourTable(data.mask_colours).read
    if encoding == "onehot":
        return functools.partial(_channel, ignore=data.ignore_label)
    if encoding == "instances":
        return _instances
    return read_mask


class ClassTable:
    """The class of each stored value, by `config.data`.

    `mask_values` has an entry for each class: a value, or several that are one class.
    `ignore_values`, and the ignore label itself, are ignored.
    """

    def __init__(self, data: ConfigDict):
        self._values = [values_of(entry) for entry in data.mask_values]
        self._ignore = data.ignore_label
        self._ignored = {self._ignore, *data.ignore_values}
        every = [value for values in self._values for value in values]
        self._table = np.full(max([*every, *self._ignored, 255]) + 1, -1, np.int32)
        self._table[list(self._ignored)] = self._ignore
        # Last: the 255 of a 0/255 mask is a class even where 255 is what is ignored.
        for label, values in enumerate(self._values):
            self._table[list(values)] = label
        self._dtype = np.uint8 if len(self._values) <= 255 else np.int32

    def __call__(self, stored: np.ndarray, name: object) -> np.ndarray:
        """Class ids `[H, W]` of stored values.

        Raises:
            UserError: A value is no class; names it and `name`.
        """
        if stored.dtype == np.uint8 and self._dtype == np.uint8:
            # Many times as quick as NumPy's indexing.
            table = self._table[:256]
            if not cv2.LUT(stored, (table < 0).astype(np.uint8)).any():
                return cv2.LUT(stored, table.astype(np.uint8))
        low, high = int(stored.min()), int(stored.max())
        label = self._table[np.clip(stored, 0, len(self._table) - 1)]
        if low < 0 or high >= len(self._table) or (label < 0).any():
            every = [value for values in self._values for value in values]
            wrong = sorted(set(np.unique(stored).tolist()) - {*every, *self._ignored})
            valid = ", ".join(map(str, every[:24])) + (", ..." if len(every) > 24 else "")
            if ignored := sorted(self._ignored - set(every)):
                valid += f", and {', '.join(map(str, ignored))} for what is ignored"
            raise UserError(
                f"{name}: has the value {wrong[0]}, which is no class; valid, by "
                f"config.data.mask_values: {valid}"
            )
        return label.astype(self._dtype)


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

    def read(self, path: Path) -> np.ndarray:
        """The places of a file's colours, int32 `[H, W]`.

        Raises:
            UserError: It cannot be read, or has a colour that is not listed.
        """
        codes = _code(read_colours(path))
        ordered = self._codes[self._order]
        near = np.minimum(np.searchsorted(ordered, codes), len(ordered) - 1)
        known = ordered[near] == codes
        if not known.all():
            strange = int(codes[~known][0])
            colour = (strange >> 16, strange >> 8 & 255, strange & 255)
            raise UserError(
                f"{path}: has the colour {colour}, in {int((codes == strange).sum())} pixels, "
                "which config.data.mask_colours does not list; a mask that was resized, or saved "
                "as JPEG, has such"
            )
        return self._order[near].astype(np.int32)


def _code(colours: np.ndarray) -> np.ndarray:
    red, green, blue = (colours[..., i].astype(np.int64) for i in range(3))
    return red << 16 | green << 8 | blue


def _instances(path: Path) -> np.ndarray:
    return (read_mask(path) > 0).astype(np.uint8)


def _channel(path: Path, ignore: int) -> np.ndarray:
    """The set channel of each pixel; the ignore label where none is."""
    channels = read_onehot(path)
    count = channels.sum(-1)
    if (count > 1).any():
        raise UserError(
            f"{path}: {int((count > 1).sum())} pixels have several classes; one class a pixel can "
            "be trained"
        )
    return np.where(count == 0, ignore, channels.argmax(-1)).astype(np.int32)
