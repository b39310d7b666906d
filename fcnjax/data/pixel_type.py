"""The pixel type of a model, and exact conversion of other pixels to it.

The type sets the scale: uint8 is divided by 255, uint16 by 65535, and float32 is not scaled. A
model is wrong on the same values in a type other than the one it was trained on. The type
therefore belongs to the model (`config.data.pixel_type`), and pixels are converted by value.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import evenly
from fcnjax.data.source import Source, SourceWrapper, StoredSource
from fcnjax.data.splits.example import Example
from fcnjax.errors import UserError
from fcnjax.runtime.packages import to_stderr

# Valid values of `config.data.pixel_type`; each holds all values of those before it.
PIXEL_TYPES = ("uint8", "uint16", "float32")
SAMPLED = 8  # images that are read to detect the pixel type of a dataset


def value_range(pixel_type: str) -> str:
    """Return a type and its range of values for messages: `uint8 (0 to 255)`."""
    if pixel_type == "float32":
        return pixel_type
    return f"{pixel_type} (0 to {np.iinfo(pixel_type).max})"


def as_pixel_type(
    pixels: np.ndarray, pixel_type: str | None, name: str, owner: str = "the model takes"
) -> np.ndarray:
    """Convert pixels to a type by value, if the conversion is exact.

    Args:
        pixels: Integers or floats, unscaled, as stored in a file.
        pixel_type: One of `PIXEL_TYPES`. None leaves the pixels unchanged.
        name: The file or example, for errors.
        owner: The words before the type in an error.

    Returns:
        The same values as `pixel_type`. Floats of more than 32 bits are rounded to float32.

    Raises:
        UserError: The type cannot represent a value, or a value is NaN or infinite.
    """
    if pixel_type is None or not pixels.size:
        return pixels
    is_float = pixels.dtype.kind == "f"
    if pixels.dtype == pixel_type and not is_float:
        return pixels
    low, high = pixels.min(), pixels.max()
    expected = f"{owner} {value_range(pixel_type)}"
    if is_float and not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{name}: has pixels that are NaN or infinite; {expected}")
    if pixels.dtype == pixel_type:
        return pixels
    if pixel_type == "float32":
        converted = pixels.astype(np.float32)
        if not is_float and (converted.astype(np.float64) != pixels).any():
            raise UserError(
                f"{name}: holds {pixels.dtype} pixels that float32 cannot represent; {expected}"
            )
        return converted
    if low < 0 or high > np.iinfo(pixel_type).max:
        # Signed and 32-bit integers are read as float32 too.
        stored = "signed or float" if is_float else str(pixels.dtype)
        remedy = "convert the file"
        if low < 0:
            remedy += ", or set the nodata value of the file if these pixels have no data"
        raise UserError(
            f"{name}: holds {stored} pixels from {low:g} to {high:g}, and {expected}; {remedy}"
        )
    converted = pixels.astype(pixel_type)
    if is_float and (converted != pixels).any():
        raise UserError(
            f"{name}: holds {pixels.dtype} pixels with fractions, from {low:g} to {high:g}, and "
            f"{expected}; convert the file"
        )
    return converted


class Conversion:
    """Conversion of pixels to one type, with a note on the first image of each narrower type.

    No file states whether an 8-bit image holds unscaled values or was scaled down from 16 bits.
    Unscaled values are assumed, and a line says so.

    Args:
        pixel_type: As in `as_pixel_type`.
        owner: As in `as_pixel_type`.
        log: Takes the line. Picklable.
    """

    def __init__(
        self,
        pixel_type: str | None,
        owner: str = "the model takes",
        log: Callable[[str], None] = to_stderr,
    ):
        self.pixel_type = pixel_type
        self._owner = owner
        self._log = log
        self._logged: set[str] = set()

    def __call__(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """Convert pixels, as `as_pixel_type`."""
        converted = as_pixel_type(pixels, self.pixel_type, name, self._owner)
        stored = str(pixels.dtype)
        wider = PIXEL_TYPES[PIXEL_TYPES.index(stored) + 1 :] if stored in PIXEL_TYPES else ()
        if self.pixel_type in wider and stored not in self._logged:
            self._logged.add(stored)
            self._log(
                f"note: {name}: holds {stored} pixels, taken by value as {self.pixel_type}; pixels "
                f"that were scaled to {stored} do not suit"
            )
        return converted


def narrowest(pixel_types: Sequence[str | None]) -> str | None:
    """Return the type whose values all the other types can represent; None if none is known."""
    known = [pixel_type for pixel_type in pixel_types if pixel_type is not None]
    return min(known, key=PIXEL_TYPES.index, default=None)


class ConvertedSource(SourceWrapper):
    """A source whose images have one pixel type.

    Args:
        source: The examples.
        pixel_type: As in `as_pixel_type`.
        root: The location of the dataset, for errors.
    """

    def __init__(self, source: StoredSource, pixel_type: str, root: str):
        super().__init__(source)
        self._root = root
        self._convert = Conversion(pixel_type, "config.data.pixel_type is")

    def stamps(self) -> list[tuple]:
        """Return the identity of the files."""
        return self._source.stamps()

    def examples(self) -> list[Example]:
        """Return the identity of each example."""
        return self._source.examples()

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        name = f"{self._root}: {example['name']}"
        return {**example, "image": self._convert(np.asarray(example["image"]), name)}


def convert_source(source: StoredSource, data: ConfigDict) -> StoredSource:
    """Return the source with its images converted to `config.data.pixel_type`.

    Args:
        source: The examples as they are stored.
        data: `config.data`, resolved. Images stay as they are in workdirs older than the key.
    """
    if data.pixel_type is None:
        return source
    return ConvertedSource(source, data.pixel_type, data.root)


def find_pixel_type(source: Source) -> str | None:
    """Detect the pixel type of a dataset from some of its images, the first and last among them.

    Args:
        source: The examples as they are stored.

    Returns:
        The type; None if none of these images can be read.

    Raises:
        UserError: The images have several types; names an example of each.
    """
    names: dict[str, str] = {}  # of an example of each type
    for row in evenly(range(len(source)), SAMPLED):
        try:
            example = source[row]
        except UserError:
            continue  # reported when training reads the example
        names.setdefault(str(example["image"].dtype), str(example["name"]))
    if len(names) > 1:
        types = ", ".join(f"{pixel_type} (as {name})" for pixel_type, name in names.items())
        raise UserError(
            f"config.data.pixel_type: the images have pixels of several types: {types}; store them "
            f"alike, or give one of {', '.join(PIXEL_TYPES)}, to which all are converted by value "
            "(`fcnjax data check` names the images)"
        )
    return next(iter(names), None)
