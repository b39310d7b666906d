"""Reading of the header of a DICOM file as plain values of checked type and range.

Only `dicom_elements.py` accesses pydicom's datasets: they convert a value on access, to the type
that the file declares, and may raise any error then.
"""

import contextlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnjax.data.readers.errors import decode_errors
from fcnjax.data.readers.limits import MAX_AXIS_LENGTH
from fcnjax.data.readers.volumes.dicom_elements import Values, read_elements
from fcnjax.errors import UserError

# Keywords of pixel data, with the valid numbers of bits of a value.
PIXEL_KEYWORDS = {
    "PixelData": (1, 8, 16, 32),
    "FloatPixelData": (32,),
    "DoubleFloatPixelData": (64,),
}
MAX_POSITION, MIN_SPACING = 1e6, 1e-6  # mm
MAX_SLOPE = 1e28  # keeps scaled values finite
MAX_GROUPS_BYTES = 2**23  # of the groups of all frames, some hundred bytes each
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Values of a frame: the sequence that holds each in groups, its count of numbers, and the largest
# valid number.
_FRAME_VALUES = {
    "ImagePositionPatient": ("PlanePositionSequence", 3, MAX_POSITION),
    "ImageOrientationPatient": ("PlaneOrientationSequence", 6, 2),
    "PixelSpacing": ("PixelMeasuresSequence", 2, MAX_POSITION),
    "SliceThickness": ("PixelMeasuresSequence", 1, MAX_POSITION),
    "RescaleSlope": ("PixelValueTransformationSequence", 1, MAX_SLOPE),
    "RescaleIntercept": ("PixelValueTransformationSequence", 1, MAX_SLOPE),
}
_TAGS = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "ImagerPixelSpacing",
    "SpacingBetweenSlices",
    "ModalityLUTSequence",
    *_FRAME_VALUES,
    *_GROUPS,
)


class Frame(NamedTuple):
    """The checked values of one image of a file.

    Attributes:
        position: `(x, y, z)` in mm of the centre of the first pixel; None if the file has none.
        directions: `(x, y, z)` of the direction along a row, then of that along a column.
        spacing: mm between rows, and between columns.
        thickness: mm from this slice to the next.
        slope: Factor for the stored values.
        intercept: Added after that.
    """

    position: tuple[float, ...] | None
    directions: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    slope: float
    intercept: float


class Pixels(NamedTuple):
    """The format of the pixels of a file, as options of pydicom's decoders.

    Attributes:
        rows: Rows of an image.
        columns: Columns of an image.
        number_of_frames: Number of images, 1 or more.
        samples_per_pixel: Values per pixel.
        photometric_interpretation: Meaning of the values, such as `MONOCHROME2`.
        bits_allocated: Bits of a value in the file: 1, 8, 16, 32 or 64.
        bits_stored: Number of these bits in use.
        pixel_representation: 1 if values are signed integers, 0 if not; None if the file does not
            say.
    """

    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    pixel_representation: int | None


class Header(NamedTuple):
    """The header of a file.

    Attributes:
        path: The file.
        syntax: UID of the transfer syntax, the encoding of the file; "" if the file has none.
        kind: The standard's name of the class of the object, such as `CT Image Storage`.
        series: SeriesInstanceUID; "" if the file has none.
        description: Description of the series.
        pixels: Format of the pixels; None if the file holds no image.
        frames: One for each image.
        table: Look-up table in place of slope and intercept, with the stored value of its first
            entry; None if the file has none.
    """

    path: Path
    syntax: str
    kind: str
    series: str
    description: str
    pixels: Pixels | None
    frames: tuple[Frame, ...]
    table: tuple[np.ndarray, int] | None


def read_header(path: Path) -> Header:
    """Read the header of a DICOM file, without its pixels.

    Raises:
        UserError: The file is damaged, or a value has a wrong type or is out of range.
    """
    elements = read_elements(path, _TAGS)
    data, pixels = elements.data, _pixels(elements.data)
    return Header(
        path,
        elements.syntax,
        _kind(path, elements.storage_class or data.text("SOPClassUID")),
        data.text("SeriesInstanceUID"),
        _description(data),
        pixels,
        _frames(data, pixels.number_of_frames) if pixels else (),
        _table(data) if pixels else None,
    )


def _kind(path: Path, uid: str) -> str:
    if not uid:
        return ""
    from pydicom.uid import UID

    with decode_errors(path, "DICOM"):
        return str(UID(uid).name).split(" - ")[0]


def _description(data: Values) -> str:
    with contextlib.suppress(UserError):  # it may be in another character set than declared
        return data.text("SeriesDescription")
    return ""


def _pixels(data: Values) -> Pixels | None:
    rows, columns = (
        data.integer(name, 0, MAX_AXIS_LENGTH, default=0) for name in ("Rows", "Columns")
    )
    if not rows or not columns:
        return None
    path = data.path
    allocated = data.integer("BitsAllocated", 1, 64)
    if allocated not in (1, 8, 16, 32, 64):
        raise UserError(f"{path}: BitsAllocated is {allocated}; valid: 1, 8, 16, 32, 64")
    signed = data.integer("PixelRepresentation", 0, 1, default=-1)
    return Pixels(
        rows,
        columns,
        # Some writers store 0 for one image.
        data.integer("NumberOfFrames", 0, 2**31 - 1, default=1) or 1,
        data.integer("SamplesPerPixel", 1, 2**16 - 1, default=1),
        data.text("PhotometricInterpretation") or "MONOCHROME2",
        allocated,
        data.integer("BitsStored", 1, allocated, default=allocated),
        None if signed < 0 else signed,
    )


def _frames(data: Values, count: int) -> tuple[Frame, ...]:
    if count > MAX_AXIS_LENGTH:
        return ()  # `refuse_undecodable` refuses the file
    per_frame = data.items(_GROUPS[0], MAX_GROUPS_BYTES)
    # One position for several frames tells nothing about the others.
    has_positions = count == 1 or bool(per_frame)
    shared = _frame_values(data.items(_GROUPS[1]), data)
    frames = [
        _frame(data, {**shared, **_frame_values([group])}, has_positions)
        for group in per_frame[:count]
    ]
    rest = _frame(data, shared, has_positions)
    return (*frames, *[rest] * (count - len(frames)))


def _frame_values(groups: list[Values], *data: Values) -> dict[str, tuple[float, ...]]:
    """Read the values of a frame from its groups, or else from the file itself."""
    values = {}
    for name, (sequence, count, limit) in _FRAME_VALUES.items():
        items = (group.items(sequence) for group in groups)
        holders = (*(item[0] for item in items if item), *data)
        numbers = (holder.numbers(name, count, limit) for holder in holders)
        if (value := next(filter(None, numbers), None)) is not None:
            values[name] = value
    return values


def _frame(data: Values, values: dict[str, tuple[float, ...]], has_position: bool) -> Frame:
    position = values.get("ImagePositionPatient")
    directions = values.get("ImageOrientationPatient")
    # Unit vectors at right angles span an area of 1, up to rounding.
    if directions and not 0.5 <= math.hypot(*np.cross(directions[:3], directions[3:])) <= 2:
        raise UserError(
            f"{data.path}: ImageOrientationPatient is {directions}; valid: two directions at right "
            "angles, of three numbers each"
        )
    spacing = values.get("PixelSpacing") or data.numbers("ImagerPixelSpacing", 2, MAX_POSITION)
    spacing = spacing or (1.0, 1.0)
    if min(spacing) < MIN_SPACING:
        raise UserError(
            f"{data.path}: PixelSpacing is {spacing}; valid: two numbers of at least {MIN_SPACING}"
        )
    thickness = data.numbers("SpacingBetweenSlices", 1, MAX_POSITION) or (0.0,)
    if not thickness[0]:
        thickness = values.get("SliceThickness", (0.0,))
    return Frame(
        position if position and directions and has_position else None,
        directions or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        (spacing[0], spacing[1]),
        abs(thickness[0]) if abs(thickness[0]) >= MIN_SPACING else 1.0,
        values.get("RescaleSlope", (1.0,))[0],
        values.get("RescaleIntercept", (0.0,))[0],
    )


def _table(data: Values) -> tuple[np.ndarray, int] | None:
    """Read the modality look-up table (PS3.3, C.11.1)."""
    items = data.items("ModalityLUTSequence")
    if not items:
        return None
    length, first, bits = items[0].integers("LUTDescriptor", 3)
    length = length or 2**16
    if bits not in (8, 16):
        raise UserError(f"{data.path}: LUTDescriptor has {bits} bits; valid: 8, 16")
    table = items[0].table("LUTData", length, bits)
    if len(table) < length:
        raise UserError(f"{data.path}: LUTData has {len(table)} values, and LUTDescriptor {length}")
    return table[:length], first
