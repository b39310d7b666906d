"""Reads TIFF files, of any type, compression and arrangement that tifffile and imagecodecs know.

A picture is the page of a file that is no overview, thumbnail or mask of another. Bands beyond
those of the colours are bands; nothing is done by them, whatever they are marked as.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.stored import ImageHeader, StoredPixels
from fcnjax.data.readers.tiff.bands import bands_of
from fcnjax.data.readers.tiff.checks import fault_of, is_jpeg_of_planes, is_mask_of, is_picture
from fcnjax.data.readers.tiff.directories import refuse_directories
from fcnjax.data.readers.tiff.libtiff import decode_by_libtiff
from fcnjax.data.readers.tiff.segments import refuse_segments
from fcnjax.errors import UserError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF of either byte order
# Without these a page is no stack: ImageDescription (ImageJ, tifffile), those of MetaMorph (UIC1 to
# UIC4), FluoView and NIH Image.
_STACK_TAGS = (270, 33628, 33629, 33630, 33631, 34361, 34362, 43314)


def read_tiff(file: File, content: bytes, page: int | None) -> StoredPixels:
    """Reads a page, as `read_stored_pixels` does; None: the only one.

    Raises:
        UserError: The file is damaged, too large, of a kind that cannot be read, or has not that
            page; names it.
    """
    with _opened(file, io.BytesIO(content)) as (tiff, pages):
        chosen = _page(file, tiff, pages, page)
        values = _decode(file, chosen, content if chosen.index == 0 else None)
        return StoredPixels(
            pixels=values,
            format="TIFF",
            valid=_valid(file, tiff, chosen),
            **bands_of(chosen),
        )


def stack_tiff(file: File, content: bytes) -> StoredPixels:
    """Reads pages of one band each as the bands of one image.

    Raises:
        UserError: As `read_tiff`; or the pages differ, or one has several bands.
    """
    with _opened(file, io.BytesIO(content)) as (tiff, pages):
        _refuse_virtual(file, tiff, pages)
        first, shape = pages[0], (pages[0].imagelength, pages[0].imagewidth)
        for number, page in enumerate(pages, start=1):
            if page.samplesperpixel != 1 or page.photometric == 3:
                raise UserError(
                    f"{file}: page {number} is not of one band, which config.data.pages=channels "
                    "takes"
                )
            if (page.imagelength, page.imagewidth) != shape or page.dtype != first.dtype:
                raise UserError(
                    f"{file}: page {number} has another size or type than the first; they cannot "
                    "be the bands of one image (config.data.pages=channels)"
                )
        pixel_bytes = len(pages) * (first.dtype.itemsize if first.dtype else 1)
        refuse_large(file, *shape, pixel_bytes, file_bytes=file_size(file))
        bands = [_decode(file, page, None) for page in pages]
        about = bands_of(first)
        if len(pages) > 1:
            names = [bands_of(page)["descriptions"][0] for page in pages]
            about |= {"marks": ("undefined",) * len(pages), "descriptions": tuple(names)}
        valid = _valid(file, tiff, first)
        return StoredPixels(np.concatenate(bands, -1), "TIFF", valid=valid, **about)


def read_tiff_header(file: File, source: BinaryIO, most: int | None = None) -> ImageHeader:
    """The header of a TIFF file; of the first page, where there are several.

    Args:
        file: What errors name.
        source: An open file.
        most: The most pixels, as `refuse_large` takes it.

    Raises:
        UserError: It is damaged, or too large.
    """
    with _opened(file, source) as (tiff, pages):
        page = pages[0]
        if not page.imagelength or not page.imagewidth:
            raise UserError(f"{file}: cannot be read as an image: it has no pixels")
        _refuse_large(file, page, most)
        return ImageHeader(
            format="TIFF",
            height=page.imagelength,
            width=page.imagewidth,
            orientation=bands_of(page)["orientation"],
            pages=_count(tiff, pages),
            tags=frozenset(tag.code for tag in page.tags),
        )


@contextlib.contextmanager
def _opened(file: File, source: BinaryIO) -> Iterator[tuple[Any, list]]:
    """Opens a TIFF file, and lists the pages that are pictures."""
    import tifffile  # takes a while, and many sets have no TIFF

    # Damage is reported by us, once.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    refuse_directories(file, source)
    with tifffile.TiffFile(source) as tiff:
        if not len(tiff.pages):
            raise UserError(f"{file}: cannot be read as an image: it has no page")
        pages = [page for page in tiff.pages if is_picture(page)]
        if not pages and tiff.pages[0].subifds:
            # A raw photograph has its thumbnail in front.
            pages = [page for page in tiff.pages[0].pages if is_picture(page)]
        yield tiff, pages or [tiff.pages[0]]


def _count(tiff: Any, pages: list) -> int:
    """Count the pictures, those included that no directory lists (ImageJ's large stacks).

    tifffile opens the other files that the series of OME, Micro-Manager and NDTiff name.
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
                "images say config.data.pages=first (the first alone) or channels (each a band)"
            )
        return pages[0]
    if page >= len(pages):
        _refuse_virtual(file, tiff, pages)
        raise UserError(f"{file}: has no page {page + 1}; it holds {len(pages)}")
    return pages[page]


def _refuse_virtual(file: File, tiff: Any, pages: list) -> None:
    if (count := _count(tiff, pages)) > len(pages):
        raise UserError(
            f"{file}: is a stack of {count} pages without a directory for each, which cannot be "
            "read; save it as a plain TIFF"
        )


def _refuse_large(file: File, page: Any, most: int | None = None) -> None:
    pixel_bytes = page.samplesperpixel * (page.dtype.itemsize if page.dtype else 1)
    size = file_size(file) if most != sys.maxsize else None
    refuse_large(file, page.imagelength, page.imagewidth, pixel_bytes, most, size)
    if page.is_tiled:
        tile = (page.tilelength, page.tilewidth, pixel_bytes)
        refuse_large(f"{file}, a tile", *tile, None if most == sys.maxsize else most, size)


def _decode(file: File, page: Any, content: bytes | None) -> np.ndarray:
    """The pixels `[H, W, C]` of a page, of which `content` is the file where it is the first."""
    import imagecodecs

    _refuse_large(file, page)
    if (fault := fault_of(page)) is not None:
        raise UserError(f"{file}: {fault}")
    refuse_segments(file, page)
    values = None if content is None else decode_by_libtiff(page, content)
    if values is None:
        try:
            values = _by_tifffile(page)
        except imagecodecs.DelayedImportError as error:
            raise UserError(
                f"{file}: is compressed by {page.compression.name}, which the imagecodecs that is "
                "installed cannot decode"
            ) from error
        # [S, D, H, W, C]: bands that follow each other, or lie beside each other.
        values = values[:, 0]
        values = values[0] if len(values) == 1 else np.moveaxis(values[..., 0], 0, -1)
    values = values.view(np.uint8) if values.dtype == bool else values
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _by_tifffile(page: Any) -> np.ndarray:
    """The pixels `[S, D, H, W, C]` of a page."""
    if not any(page.databytecounts):  # tifffile does not see that nothing is stored
        return np.full(page.shaped, page.nodata, page.dtype)
    photometric = page.photometric
    try:
        if is_jpeg_of_planes(page):
            page.photometric = 1  # each plane is a grey JPEG, which tifffile takes for one of RGB
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
    """The pixels of a page whose last strip is as long as the others; that is no damage."""
    import tifffile

    rows = page.rowsperstrip
    handle = page.parent.filehandle
    handle.seek(0)
    # Another object, since a page keeps what it has made of its length.
    with tifffile.TiffFile(io.BytesIO(handle.read())) as tiff:
        longer = tiff.pages[page.index]
        stacks, depth, height, width, bands = page.shaped
        longer.imagelength = -(-height // rows) * rows
        longer.shaped = (stacks, depth, longer.imagelength, width, bands)
        return longer.asarray(squeeze=False, maxworkers=1)[:, :, :height]


def _valid(file: File, tiff: Any, page: Any) -> np.ndarray | None:
    """The pixels with data, by the page's mask; None: it has no mask."""
    if not isinstance(page.index, int):
        return None
    for other in tiff.pages[page.index + 1 :]:
        if is_picture(other):
            break
        if is_mask_of(other, page):
            return _decode(file, other, None)[..., 0] != 0
    return None
