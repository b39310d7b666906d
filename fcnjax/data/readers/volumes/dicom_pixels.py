"""Decodes the pixels of DICOM files, whose claimed sizes are checked before memory is taken."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fcnjax.data.readers.formats.codestream import codestream_size
from fcnjax.data.readers.volumes.dicom_elements import read_elements
from fcnjax.data.readers.volumes.dicom_header import PIXEL_KEYWORDS, Header
from fcnjax.data.readers.volumes.dicom_values import Values
from fcnjax.data.readers.volumes.library_errors import errors_of
from fcnjax.data.readers.volumes.limits import refuse_large_volume
from fcnjax.errors import UserError

_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
# An image of this many pixels is decoded from a codestream of any size, a larger one of at least a
# byte for so many pixels: decoders take several times the memory of their result.
UNPROVEN_PIXELS, MOST_PIXELS_OF_BYTE = 2**25, 20


def refuse_undecodable(headers: Sequence[Header]) -> None:
    """Checks what headers say of pixels, before any are read.

    Raises:
        UserError: A file is too short or has too many images, nothing installed can decode it, or
            the volume would be too large.
    """
    from pydicom.uid import UID

    stored, voxels = 0, 0
    for header in headers:
        with errors_of(header.path, "DICOM"):
            syntax = UID(header.syntax)
            is_known = bool(header.syntax) and syntax.is_transfer_syntax
        if not is_known:
            raise UserError(f"{header.path}: says no transfer syntax that DICOM has")
        if syntax.is_compressed:
            _refuse_unknown(header, syntax)
        size = header.path.stat().st_size
        if size < (needed := _least_bytes(header, syntax)):
            raise UserError(f"{header.path}: was cut off: its pixels take {needed} bytes or more")
        stored += size
        shape = (header.pixels.columns, header.pixels.rows, header.pixels.frames)
        refuse_large_volume(header.path, shape, 4, size)
        voxels += shape[0] * shape[1] * shape[2]
    # Of several files, which are of one size or are refused: the sum as slices of the first's.
    first = headers[0].pixels
    slices = -(-voxels // (first.columns * first.rows))
    folder = headers[0].path if len(headers) == 1 else headers[0].path.parent
    refuse_large_volume(folder, (first.columns, first.rows, slices), 4, stored)


def _refuse_unknown(header: Header, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UserError(f"{header.path}: is stored as {syntax.name}, which is not read") from error
    if not decoder.is_available:
        packages = _packages(decoder.missing_dependencies)
        raise UserError(f"{header.path}: is stored as {syntax.name}: pip install {packages}")


def _packages(missing: Sequence[str]) -> str:
    """What to install, of pydicom's lines such as `pylibjpeg - requires pylibjpeg>=2.0 and ...`."""
    if any(line.startswith("gdcm ") for line in missing):
        return "python-gdcm"
    return " ".join(re.findall(r"([\w-]+)>=", missing[0]))


def _least_bytes(header: Header, syntax: Any) -> int:
    """The least number of bytes that the pixels take."""
    pixels = header.pixels
    if syntax.is_compressed or syntax.is_deflated:
        return pixels.frames
    return pixels.frames * pixels.rows * pixels.columns * pixels.bits_allocated // 8


def read_frames(header: Header) -> Iterator[np.ndarray]:
    """Decodes the images of a file.

    Args:
        header: Its header, which `refuse_undecodable` accepted.

    Yields:
        The stored values of each image, `[rows, columns]`, in order.

    Raises:
        UserError: The pixels are missing or damaged, or are of another size than the header says.
    """
    from pydicom.pixels import get_decoder

    elements = read_elements(header.path, (*PIXEL_KEYWORDS, *_OFFSETS), with_pixels=True)
    data = Values(header.path, elements.data)
    keyword = next((name for name in PIXEL_KEYWORDS if data.bytes(name)), None)
    if keyword is None:
        raise UserError(f"{header.path}: has no pixels")
    content = data.bytes(keyword)
    options = _options(header, keyword)
    if all(offsets := tuple(data.bytes(name) for name in _OFFSETS)):
        options["extended_offsets"] = offsets
    with errors_of(header.path, "DICOM"):
        decoder = get_decoder(elements.syntax)
        is_encapsulated = decoder.is_encapsulated
    if is_encapsulated:
        _refuse_codestreams(header, content, options.get("extended_offsets"))
    with errors_of(header.path, "DICOM"):
        if header.pixels.bits_allocated == 1 and not is_encapsulated:
            # pydicom misplaces one image of those that begin within a byte.
            every, _ = decoder.as_array(content, raw=True, **options)
            images = ((image, None) for image in every.reshape(-1, *every.shape[-2:]))
        else:
            # One after another: to find one by its number, all before it are looked at.
            images = decoder.iter_array(content, raw=True, **options)
    expected = (header.pixels.rows, header.pixels.columns)
    for number in range(header.pixels.frames):
        with errors_of(header.path, "DICOM"):
            stored, _ = next(images, (None, None))
        if stored is None:
            raise UserError(
                f"{header.path}: holds {number} images, and its header says {header.pixels.frames}"
            )
        if stored.shape != expected:
            raise UserError(f"{header.path}: an image has the shape {stored.shape}, not {expected}")
        yield stored


def _options(header: Header, keyword: str) -> dict[str, Any]:
    """The format of the pixels as pydicom's decoders take it."""
    pixels = header.pixels
    if pixels.bits_allocated not in (bits := PIXEL_KEYWORDS[keyword]):
        raise UserError(
            f"{header.path}: BitsAllocated is {pixels.bits_allocated}; valid of {keyword}: "
            f"{', '.join(map(str, bits))}"
        )
    if keyword == "PixelData" and pixels.is_signed is None:
        raise UserError(f"{header.path}: has no PixelRepresentation; valid: 0 or 1")
    if keyword != "PixelData" and (header.table or pixels.photometric != "MONOCHROME2"):
        raise UserError(
            f"{header.path}: {keyword} is MONOCHROME2 without a look-up table; it has "
            f"{pixels.photometric}{' and a table' if header.table else ''}"
        )
    return {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "number_of_frames": pixels.frames,
        "samples_per_pixel": pixels.samples,
        "photometric_interpretation": pixels.photometric,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": int(bool(pixels.is_signed)),
        "pixel_keyword": keyword,
    }


def _refuse_codestreams(
    header: Header, content: bytes, offsets: tuple[bytes, bytes] | None
) -> None:
    """Raises UserError where a compressed image claims another size than the header."""
    from pydicom.encaps import generate_frames

    pixels = header.pixels
    size = (pixels.rows, pixels.columns, 1)
    with errors_of(header.path, "DICOM"):
        frames = generate_frames(content, number_of_frames=pixels.frames, extended_offsets=offsets)
    while True:
        with errors_of(header.path, "DICOM"):
            frame = next(frames, None)
        if frame is None:
            return
        if (claim_folder := codestream_size(frame)) == (0, 0, 0):
            raise UserError(
                f"{header.path}: holds a compressed image without a clear size, or of far too many "
                "tiles, precincts, blocks or scans"
            )
        if claim_folder not in (None, size):
            height, width, samples = claim_folder
            raise UserError(
                f"{header.path}: holds a compressed image of {width}x{height} pixels of {samples} "
                f"values, and its header says {pixels.columns}x{pixels.rows} of 1"
            )
        if pixels.rows * pixels.columns > max(UNPROVEN_PIXELS, MOST_PIXELS_OF_BYTE * len(frame)):
            raise UserError(
                f"{header.path}: holds an image of {pixels.columns}x{pixels.rows} pixels in "
                f"{len(frame)} bytes, which is too few"
            )
