"""Decoding of the pixels of DICOM files, with claimed sizes checked before memory is allocated."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fcnjax.data.readers.errors import decode_errors
from fcnjax.data.readers.formats.codestreams import codestream_size
from fcnjax.data.readers.limits import refuse_large_volume
from fcnjax.data.readers.volumes.dicom_elements import read_elements
from fcnjax.data.readers.volumes.dicom_header import PIXEL_KEYWORDS, Header
from fcnjax.errors import UserError

_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
# Images up to SMALL_PIXELS are decoded from a codestream of any size; larger ones need a byte for
# each MAX_PIXELS_PER_BYTE: decoders take several times the memory of their result.
SMALL_PIXELS, MAX_PIXELS_PER_BYTE = 2**25, 20


def refuse_undecodable(headers: Sequence[Header]) -> None:
    """Check the pixel formats in headers, before any pixels are read.

    Raises:
        UserError: A file is too short or has too many images, no installed package decodes it, or
            the volume would be too large.
    """
    from pydicom.uid import UID

    stored, voxels = 0, 0
    for header in headers:
        with decode_errors(header.path, "DICOM"):
            syntax = UID(header.syntax)
            is_known = bool(header.syntax) and syntax.is_transfer_syntax
        if not is_known:
            raise UserError(f"{header.path}: has no transfer syntax of DICOM")
        if syntax.is_compressed:
            _refuse_unknown_syntax(header, syntax)
        size, pixels = header.path.stat().st_size, header.pixels
        shape = (pixels.columns, pixels.rows, pixels.number_of_frames)
        needed = math.prod(shape) * pixels.bits_allocated // 8
        if syntax.is_compressed or syntax.is_deflated:
            needed = pixels.number_of_frames
        if size < needed:
            raise UserError(f"{header.path}: was cut off: its pixels take {needed} bytes or more")
        stored += size
        refuse_large_volume(header.path, shape, 4, size)
        voxels += math.prod(shape)
    # Files of a series have images of one size: check all of them as slices of that.
    first = headers[0].pixels
    slices = -(-voxels // (first.columns * first.rows))
    folder = headers[0].path if len(headers) == 1 else headers[0].path.parent
    refuse_large_volume(folder, (first.columns, first.rows, slices), 4, stored)


def _refuse_unknown_syntax(header: Header, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UserError(f"{header.path}: is stored as {syntax.name}, not supported") from error
    if not decoder.is_available:
        # Lines such as `pylibjpeg - requires pylibjpeg>=2.0 and`.
        missing = decoder.missing_dependencies
        packages = " ".join(re.findall(r"([\w-]+)>=", missing[0]))
        if any(line.startswith("gdcm ") for line in missing):
            packages = "python-gdcm"
        raise UserError(f"{header.path}: is stored as {syntax.name}: pip install {packages}")


def read_frames(header: Header) -> Iterator[np.ndarray]:
    """Decode the images of a file.

    Args:
        header: Its header, accepted by `refuse_undecodable`.

    Yields:
        The stored values of each image, `[rows, columns]`, in order.

    Raises:
        UserError: The pixels are missing or damaged, or differ in size from the header.
    """
    from pydicom.pixels import get_decoder

    elements = read_elements(header.path, (*PIXEL_KEYWORDS, *_OFFSETS), with_pixels=True)
    keyword = next((name for name in PIXEL_KEYWORDS if elements.data.bytes(name)), None)
    if keyword is None:
        raise UserError(f"{header.path}: has no pixels")
    content = elements.data.bytes(keyword)
    options = _options(header, keyword)
    if all(offsets := tuple(map(elements.data.bytes, _OFFSETS))):
        options["extended_offsets"] = offsets
    with decode_errors(header.path, "DICOM"):
        decoder = get_decoder(elements.syntax)
        is_encapsulated = decoder.is_encapsulated
    if is_encapsulated:
        _refuse_codestreams(header, content, options.get("extended_offsets"))
    with decode_errors(header.path, "DICOM"):
        if header.pixels.bits_allocated == 1 and not is_encapsulated:
            # pydicom misplaces single images that begin within a byte.
            pixels, _ = decoder.as_array(content, raw=True, **options)
            images = ((image, None) for image in pixels.reshape(-1, *pixels.shape[-2:]))
        else:
            # In order: to find one by its number, pydicom walks over all before it.
            images = decoder.iter_array(content, raw=True, **options)
    expected = (header.pixels.rows, header.pixels.columns)
    for number in range(header.pixels.number_of_frames):
        with decode_errors(header.path, "DICOM"):
            stored, _ = next(images, (None, None))
        if stored is None:
            raise UserError(
                f"{header.path}: holds {number} images, and its header claims "
                f"{header.pixels.number_of_frames}"
            )
        if stored.shape != expected:
            raise UserError(f"{header.path}: an image has the shape {stored.shape}, not {expected}")
        yield stored


def _options(header: Header, keyword: str) -> dict[str, Any]:
    """Return the format of the pixels as arguments of pydicom's decoders."""
    pixels = header.pixels
    if pixels.bits_allocated not in (bits := PIXEL_KEYWORDS[keyword]):
        raise UserError(
            f"{header.path}: BitsAllocated is {pixels.bits_allocated}; valid of {keyword}: "
            f"{', '.join(map(str, bits))}"
        )
    if keyword == "PixelData" and pixels.pixel_representation is None:
        raise UserError(f"{header.path}: has no PixelRepresentation; valid: 0 or 1")
    photometric = pixels.photometric_interpretation
    if keyword != "PixelData" and (header.table or photometric != "MONOCHROME2"):
        raise UserError(
            f"{header.path}: {keyword} is MONOCHROME2 without a look-up table; it has "
            f"{photometric}{' and a table' if header.table else ''}"
        )
    is_signed = pixels.pixel_representation or 0
    return {**pixels._asdict(), "pixel_representation": is_signed, "pixel_keyword": keyword}


def _refuse_codestreams(
    header: Header, content: bytes, offsets: tuple[bytes, bytes] | None
) -> None:
    """Raise UserError if a compressed image claims another size than the header."""
    from pydicom.encaps import generate_frames

    pixels = header.pixels
    size = (pixels.rows, pixels.columns, 1)
    with decode_errors(header.path, "DICOM"):
        number = pixels.number_of_frames
        frames = generate_frames(content, number_of_frames=number, extended_offsets=offsets)
    while True:
        with decode_errors(header.path, "DICOM"):
            frame = next(frames, None)
        if frame is None:
            return
        if (claimed := codestream_size(frame)) == (0, 0, 0):
            raise UserError(
                f"{header.path}: holds a compressed image without a clear size, or of too many "
                "tiles, precincts, blocks or scans"
            )
        if claimed not in (None, size):
            height, width, samples = claimed
            raise UserError(
                f"{header.path}: holds a compressed image of {width}x{height} pixels of {samples} "
                f"values, and its header claims {pixels.columns}x{pixels.rows} of 1"
            )
        if pixels.rows * pixels.columns > max(SMALL_PIXELS, MAX_PIXELS_PER_BYTE * len(frame)):
            raise UserError(
                f"{header.path}: holds an image of {pixels.columns}x{pixels.rows} pixels in "
                f"{len(frame)} bytes, which is too few"
            )
