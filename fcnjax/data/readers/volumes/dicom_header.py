"""Reads the header of a DICOM file: plain values, each of a checked type and range.

Nothing else uses pydicom's datasets. They convert a value when it is accessed, to the type that the
file declares, and raise errors of any kind at that time.
"""

import contextlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnjax.data.readers.volumes.dicom_elements import read_elements
from fcnjax.data.readers.volumes.dicom_values import Values
from fcnjax.data.readers.volumes.library_errors import errors_of
from fcnjax.data.readers.volumes.limits import LONGEST_AXIS
from fcnjax.errors import UserError

# Of pixels by their keyword: the bits that a value may take.
PIXEL_KEYWORDS = {
    "PixelData": (1, 8, 16, 32),
    "FloatPixelData": (32,),
    "DoubleFloatPixelData": (64,),
}
FARTHEST, NEAREST = 1e6, 1e-6  # mm: of positions, and the least distance of pixels and slices
LARGEST = 1e28  # of a scale, so that what it is applied to stays finite
LONGEST_GROUPS = 2**23  # bytes of the groups of all frames, of some hundred bytes each
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
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
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    *_GROUPS,
)


class Frame(NamedTuple):
    """The checked values of one image of a file.

    Attributes:
        position: `(x, y, z)` mm, the middle of the first pixel; None: the file does not say.
        directions: `(x, y, z)` of that in which columns follow each other, then of that of rows.
        spacing: mm from row to row, and from column to column.
        thickness: mm from this slice to the next.
        slope: Factor of the stored values.
        intercept: Added after that.
    """

    position: tuple[float, ...] | None
    directions: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    slope: float
    intercept: float


class Pixels(NamedTuple):
    """The format of the pixels of a file.

    Attributes:
        rows: Of an image.
        columns: Of an image.
        frames: Images of the file, 1 or more.
        samples: Values of a pixel.
        photometric: Meaning of the values, such as `MONOCHROME2`.
        bits_allocated: Of a value in the file: 1, 8, 16, 32 or 64.
        bits_stored: Of those the number that are used.
        is_signed: Whether values are signed integers; None: the file does not say.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    is_signed: bool | None


class Header(NamedTuple):
    """The header of a file.

    Attributes:
        path: The file.
        syntax: UID of the transfer syntax, the encoding of the file; "": the file does not say.
        kind: The standard's name of the class of the object, such as `CT Image Storage`.
        series: Its SeriesInstanceUID; "": the file does not say.
        description: Of the series.
        pixels: None: the file holds no image.
        frames: One for each image.
        table: Values by stored value, and the stored value of the first, in place of slope and
            intercept; None: the file has no such table.
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
    """Reads the header of a DICOM file; its pixels are not read.

    Raises:
        UserError: The file is damaged, or a value has a wrong type or is out of range.
    """
    elements = read_elements(path, _TAGS)
    data = Values(path, elements.data)
    pixels = _pixels(data)
    return Header(
        path,
        elements.syntax,
        _kind(path, elements.storage_class or data.text("SOPClassUID")),
        data.text("SeriesInstanceUID"),
        _description(data),
        pixels,
        _frames(data, pixels.frames) if pixels else (),
        _table(data) if pixels else None,
    )


def _kind(path: Path, uid: str) -> str:
    if not uid:
        return ""
    from pydicom.uid import UID

    with errors_of(path, "DICOM"):
        return str(UID(uid).name).split(" - ")[0]


def _description(data: Values) -> str:
    with contextlib.suppress(UserError):  # of other letters than the file says, for example
        return data.text("SeriesDescription")
    return ""


def _pixels(data: Values) -> Pixels | None:
    rows, columns = (data.whole(name, 0, LONGEST_AXIS, default=0) for name in ("Rows", "Columns"))
    if not rows or not columns:
        return None
    path = data.path
    allocated = data.whole("BitsAllocated", 1, 64)
    if allocated not in (1, 8, 16, 32, 64):
        raise UserError(f"{path}: BitsAllocated is {allocated}; valid: 1, 8, 16, 32, 64")
    signed = data.whole("PixelRepresentation", 0, 1, default=-1)
    return Pixels(
        rows,
        columns,
        # Some writers store 0 for one image.
        data.whole("NumberOfFrames", 0, 2**31 - 1, default=1) or 1,
        data.whole("SamplesPerPixel", 1, 2**16 - 1, default=1),
        data.text("PhotometricInterpretation") or "MONOCHROME2",
        allocated,
        data.whole("BitsStored", 1, allocated, default=allocated),
        None if signed < 0 else bool(signed),
    )


def _frames(data: Values, count: int) -> tuple[Frame, ...]:
    if count > LONGEST_AXIS:
        return ()  # too many: `refuse_undecodable` refuses the file
    per_frame = data.items(_GROUPS[0], LONGEST_GROUPS)
    shared = data.items(_GROUPS[1])
    # Several frames of which the file gives but one place lie nobody knows where.
    is_placed = count == 1 or bool(per_frame)
    of_all = _values(shared, data)
    found = []
    for group in per_frame[:count]:
        own = _values([group])
        found.append(_frame(data, {**of_all, **own}, is_placed))
    rest = _frame(data, of_all, is_placed)
    return (*found, *[rest] * (count - len(found)))


# By keyword of a value: the sequence that holds it in groups, how many numbers it has, and the
# largest valid one.
_OF_A_FRAME = {
    "ImagePositionPatient": ("PlanePositionSequence", 3, FARTHEST),
    "ImageOrientationPatient": ("PlaneOrientationSequence", 6, 2),
    "PixelSpacing": ("PixelMeasuresSequence", 2, FARTHEST),
    "SliceThickness": ("PixelMeasuresSequence", 1, FARTHEST),
    "RescaleSlope": ("PixelValueTransformationSequence", 1, LARGEST),
    "RescaleIntercept": ("PixelValueTransformationSequence", 1, LARGEST),
}


def _values(groups: list[Values], *data: Values) -> dict[str, tuple[float, ...]]:
    """Reads the values of a frame from its groups, or else from the file itself."""
    found = {}
    for name, (sequence, count, most) in _OF_A_FRAME.items():
        items = (group.items(sequence) for group in groups)
        holders = (*(one[0] for one in items if one), *data)
        value = next((v for one in holders if (v := one.numbers(name, count, most))), None)
        if value is not None:
            found[name] = value
    return found


def _frame(data: Values, values: dict[str, tuple[float, ...]], is_placed: bool) -> Frame:
    position = values.get("ImagePositionPatient")
    directions = values.get("ImageOrientationPatient")
    if directions:
        _refuse_flat(data.path, directions)
    spacing = values.get("PixelSpacing") or data.numbers("ImagerPixelSpacing", 2, FARTHEST)
    spacing = spacing or (1.0, 1.0)
    if min(spacing) < NEAREST:
        raise UserError(
            f"{data.path}: PixelSpacing is {spacing}; valid: two numbers of at least {NEAREST}"
        )
    thickness = data.numbers("SpacingBetweenSlices", 1, FARTHEST) or (0.0,)
    if not thickness[0]:
        thickness = values.get("SliceThickness", (0.0,))
    return Frame(
        position if position and directions and is_placed else None,
        directions or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        (spacing[0], spacing[1]),
        abs(thickness[0]) if abs(thickness[0]) >= NEAREST else 1.0,
        values.get("RescaleSlope", (1.0,))[0],
        values.get("RescaleIntercept", (0.0,))[0],
    )


def _refuse_flat(path: Path, directions: tuple[float, ...]) -> None:
    # Both have the length 1 and are at right angles, so this is 1 but for rounding.
    area = math.hypot(*np.cross(directions[:3], directions[3:]))
    if not 0.5 <= area <= 2:
        raise UserError(
            f"{path}: ImageOrientationPatient is {directions}; valid: two directions at right "
            "angles, of three numbers each"
        )


def _table(data: Values) -> tuple[np.ndarray, int] | None:
    """The modality look-up table (PS3.3, C.11.1)."""
    items = data.items("ModalityLUTSequence")
    if not items:
        return None
    length, first, bits = items[0].whole_numbers("LUTDescriptor", 3)
    length = length or 2**16
    if bits not in (8, 16):
        raise UserError(f"{data.path}: LUTDescriptor has {bits} bits; valid: 8, 16")
    table = items[0].table("LUTData", length, bits)
    if len(table) < length:
        raise UserError(f"{data.path}: LUTData has {len(table)} values, and LUTDescriptor {length}")
    return table[:length], first
