"""Reading of TIFF files of any type, compression and layout that tifffile and imagecodecs decode.

Pages that are overviews, thumbnails or masks of another page do not count as images. Bands beyond
the colours are bands; their marks as alpha have no effect. libtiff, in OpenCV, decodes what it
decodes faster than tifffile, and what only it decodes.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import cv2
import numpy as np

from fcnjax.data.readers.errors import decode_error
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.stored_pixels import ImageHeader, StoredPixels
from fcnjax.data.readers.tiff.checks import refuse_directories, refuse_segments
from fcnjax.data.readers.tiff.pages import (
    JPEG,
    band_fields,
    is_mask_of,
    is_picture,
    is_planar_jpeg,
    unsupported_reason,
)
from fcnjax.errors import UserError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF of either byte order
# A stack has one of these tags: ImageDescription (ImageJ, tifffile), those of MetaMorph (UIC1 to
# UIC4), FluoView and NIH Image.
_STACK_TAGS = (270, 33628, 33629, 33630, 33631, 34361, 34362, 43314)
_LZW = 5
_GREY, _RGB, _YCBCR = 1, 2, 6
_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def read_tiff(file: File, content: bytes, page: int | None) -> StoredPixels:
    """Read a page; see `read_stored_pixels`.

    Args:
        file: The file, for errors.
        content: The bytes of the file.
        page: The page, from 0; None: the only one.

    Raises:
        UserError: The file is damaged, too large, of an unsupported kind, or lacks that page.
    """
    with _opened(file, io.BytesIO(content)) as (tiff, pages):
        chosen = _page(file, tiff, pages, page)
        pixels = _decode(file, chosen, content if chosen.index == 0 else None)
        valid = _valid(file, tiff, chosen)
        return StoredPixels(pixels, "TIFF", valid=valid, **band_fields(chosen))


def stack_tiff(file: File, content: bytes) -> StoredPixels:
    """Read pages of one band each as the bands of one image.

    Raises:
        UserError: As `read_tiff`; or the pages differ, or one has several bands.
    """
    with _opened(file, io.BytesIO(content)) as (tiff, pages):
        _refuse_virtual(file, tiff, pages)
        first, shape = pages[0], (pages[0].imagelength, pages[0].imagewidth)
        for number, page in enumerate(pages, start=1):
            if page.samplesperpixel != 1 or page.photometric == 3:
                raise UserError(
                    f"{file}: page {number} has several bands, and config.data.pages=channels "
                    "takes pages of one"
                )
            if (page.imagelength, page.imagewidth) != shape or page.dtype != first.dtype:
                raise UserError(
                    f"{file}: page {number} differs from the first in size or type; they cannot "
                    "be the bands of one image (config.data.pages=channels)"
                )
        pixel_bytes = len(pages) * (first.dtype.itemsize if first.dtype else 1)
        refuse_large(file, *shape, pixel_bytes, file_bytes=file_size(file))
        bands = [_decode(file, page, None) for page in pages]
        fields = band_fields(first)
        if len(pages) > 1:
            names = tuple(band_fields(page)["descriptions"][0] for page in pages)
            fields |= {"colorinterp": ("undefined",) * len(pages), "descriptions": names}
        valid = _valid(file, tiff, first)
        return StoredPixels(np.concatenate(bands, -1), "TIFF", valid=valid, **fields)


def read_tiff_header(file: File, source: BinaryIO, limit: int | None = None) -> ImageHeader:
    """Read the header of the first page of a TIFF file.

    Args:
        file: The file, for errors.
        source: The open file.
        limit: Largest number of pixels, as in `refuse_large`.

    Raises:
        UserError: The file is damaged, or too large.
    """
    with _opened(file, source) as (tiff, pages):
        page = pages[0]
        if not page.imagelength or not page.imagewidth:
            raise decode_error(file, "it has no pixels")
        _refuse_large(file, page, limit)
        return ImageHeader(
            format="TIFF",
            height=page.imagelength,
            width=page.imagewidth,
            orientation=band_fields(page)["orientation"],
            pages=_count(tiff, pages),
            tags=frozenset(tag.code for tag in page.tags),
        )


@contextlib.contextmanager
def _opened(file: File, source: BinaryIO) -> Iterator[tuple[Any, list]]:
    """Open a TIFF file, and list the pages that are pictures."""
    import tifffile  # slow to import, and many datasets have no TIFF

    # We report damage ourselves, once.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    refuse_directories(file, source)
    with tifffile.TiffFile(source) as tiff:
        if not len(tiff.pages):
            raise decode_error(file, "it has no page")
        pages = [page for page in tiff.pages if is_picture(page)]
        if not pages and tiff.pages[0].subifds:
            # A raw photograph starts with its thumbnail.
            pages = [page for page in tiff.pages[0].pages if is_picture(page)]
        yield tiff, pages or [tiff.pages[0]]


def _count(tiff: Any, pages: list) -> int:
    """Count the pictures, including those without a directory (ImageJ's large stacks).

    tifffile would open other files that the series of OME, Micro-Manager and NDTiff name.
    """
    may_be_stack = any(tag in pages[0].tags for tag in _STACK_TAGS)
    names_files = tiff.is_ome or tiff.is_mmstack or tiff.is_ndtiff
    if len(pages) > 1 or not may_be_stack or names_files or not pages[0].size:
        return len(pages)
    return max(1, tiff.series[0].size // pages[0].size) if tiff.series else 1


def _page(file: File, tiff: Any, pages: list, page: int | None) -> Any:
    if page is None:
        if (count := _count(tiff, pages)) > 1:
            raise UserError(
                f"{file}: holds {count} pages, and one is read; save each page as a file, or for "
                "images say config.data.pages=first (only the first) or channels (each a band)"
            )
        return pages[0]
    if page >= len(pages):
        _refuse_virtual(file, tiff, pages)
        raise UserError(f"{file}: has no page {page + 1}; it has {len(pages)}")
    return pages[page]


def _refuse_virtual(file: File, tiff: Any, pages: list) -> None:
    if (count := _count(tiff, pages)) > len(pages):
        raise UserError(
            f"{file}: is a stack of {count} pages without a directory for each, which is not "
            "supported; save it as a plain TIFF"
        )


def _refuse_large(file: File, page: Any, limit: int | None = None) -> None:
    pixel_bytes = page.samplesperpixel * (page.dtype.itemsize if page.dtype else 1)
    size = file_size(file) if limit != sys.maxsize else None
    refuse_large(file, page.imagelength, page.imagewidth, pixel_bytes, limit, size)
    if page.is_tiled:
        tile = (page.tilelength, page.tilewidth, pixel_bytes)
        refuse_large(f"{file}, a tile", *tile, None if limit == sys.maxsize else limit, size)


def _decode(file: File, page: Any, content: bytes | None) -> np.ndarray:
    """Decode the pixels `[H, W, C]` of a page; `content` is the file, for the first page only."""
    import imagecodecs

    _refuse_large(file, page)
    if (reason := unsupported_reason(page)) is not None:
        raise UserError(f"{file}: {reason}")
    refuse_segments(file, page)
    values = None if content is None else decode_by_libtiff(page, content)
    if values is None:
        try:
            values = _decode_by_tifffile(page)
        except imagecodecs.DelayedImportError as error:
            raise UserError(
                f"{file}: is compressed by {page.compression.name}, which the installed "
                "imagecodecs cannot decode"
            ) from error
        # [S, D, H, W, C]: bands one after the other (S), or interleaved (C).
        values = values[:, 0]
        values = values[0] if len(values) == 1 else np.moveaxis(values[..., 0], 0, -1)
    values = values.view(np.uint8) if values.dtype == bool else values
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _decode_by_tifffile(page: Any) -> np.ndarray:
    """Decode the pixels `[S, D, H, W, C]` of a page."""
    if not any(page.databytecounts):  # tifffile does not handle a page that stores nothing
        return np.full(page.shaped, page.nodata, page.dtype)
    photometric = page.photometric
    try:
        if is_planar_jpeg(page):
            page.photometric = 1  # each plane is a grey JPEG; tifffile expects RGB
        return page.asarray(squeeze=False, maxworkers=1)
    except Exception as error:
        rows = page.rowsperstrip
        if page.is_tiled or not 0 < rows < page.imagelength or not page.imagelength % rows:
            raise
        try:
            return _with_full_strips(page)
        except Exception:
            raise error from None
    finally:
        page.photometric = photometric


def _with_full_strips(page: Any) -> np.ndarray:
    """Decode a page whose last strip is as long as the others, which is valid."""
    import tifffile

    rows = page.rowsperstrip
    handle = page.parent.filehandle
    handle.seek(0)
    # Use a new object: a page keeps values derived from its length.
    with tifffile.TiffFile(io.BytesIO(handle.read())) as tiff:
        longer = tiff.pages[page.index]
        stacks, depth, height, width, bands = page.shaped
        longer.imagelength = -(-height // rows) * rows
        longer.shaped = (stacks, depth, longer.imagelength, width, bands)
        return longer.asarray(squeeze=False, maxworkers=1)[:, :, :height]


def _valid(file: File, tiff: Any, page: Any) -> np.ndarray | None:
    """Return where a page has data, by its mask page; None without one."""
    if not isinstance(page.index, int):
        return None
    for other in tiff.pages[page.index + 1 :]:
        if is_picture(other):
            break
        if is_mask_of(other, page):
            return _decode(file, other, None)[..., 0] != 0
    return None


def decode_by_libtiff(page: Any, content: bytes) -> np.ndarray | None:
    """Decode the first page of a file, if libtiff suits it.

    Args:
        page: The page, of tifffile.
        content: The file.

    Returns:
        `[H, W, C]` uint8, not upright; None if libtiff does not suit it or the page is damaged.
    """
    if not _suits_libtiff(page):
        return None
    grey = page.samplesperpixel == 1
    flags = _FLAGS | (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (page.imagelength, page.imagewidth):
        return None
    return pixels[..., None] if grey else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)


def _suits_libtiff(page: Any) -> bool:
    """Return whether libtiff decodes a page faster, or alone, without changing its values."""
    photometric = {1: (_GREY,), 3: (_RGB, _YCBCR)}.get(page.samplesperpixel, ())
    is_plain = (
        page.photometric in photometric
        and page.bitspersample == 8
        and page.dtype == np.uint8
        and page.planarconfig == 1
        and page.fillorder == 1
        and page.tags.valueof(274, 1) == 1
    )
    if page.photometric == _YCBCR:
        return is_plain and page.compression not in JPEG  # only libtiff decodes it
    sides = (page.tilelength, page.tilewidth) if page.is_tiled else (16, 16)
    return is_plain and page.compression == _LZW and not any(side % 16 for side in sides)
