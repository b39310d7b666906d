"""Rasters in and out: windows read by several threads, and GeoTIFF files in the raster's place."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.readers.decode import read_image_header
from fcnjax.data.readers.limits import file_size, max_pixels, refuse_large
from fcnjax.data.readers.raster.bands import BandReader, Window, read_header
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic

# What is always read as a raster, and what may be one: by its georeference or size.
SUFFIXES = (".vrt", ".jp2", ".img")
_PLACING_TAGS = (33922, 34264, 34735)  # a tiepoint, a transformation, the keys
TIFF = (".tif", ".tiff")
BLOCK = 256  # pixels a side of the blocks of a GeoTIFF, and of the rows written at a time
MOST_IMAGES = 100  # by how much a raster may have more pixels than an image that is read whole
MOST_SIDE = 2**18  # pixels of a raster in a small file; rows of tiles are held over all its width
GDAL_CACHE = 2**27  # bytes of decoded blocks; by itself it takes a twentieth of the memory


class Unreadable(UserError):
    """A part of a raster that cannot be read: nothing is wrong with other files."""


class RasterWindows:
    """A raster that threads read windows of.

    Args:
        path: The file.
        names: The bands, as `fcnjax/data/readers/raster/bands.py` takes them.
        convert: `convert(pixels, path)` makes pixels the model's type, as `Model.converted`.
        pages: `config.data.pages`.

    Attributes:
        size: Height and width.

    Raises:
        UserError: It cannot be read, or has other bands.
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str],
        convert: Callable[[np.ndarray, str], np.ndarray],
        pages: str = "",
    ):
        self._path, self._names, self._pages, self._convert = path, tuple(names), pages, convert
        self._own, self._readers, self._lock = threading.local(), [], threading.Lock()
        self.size = read_header(path, pages).size
        _refuse_vast(path, self.size)
        self._reader()  # whose errors come before all work

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The bands `[h, w, C]` of a window, and bool `[h, w]`: where there is any data.

        Raises:
            Unreadable: The file is damaged, or has values that the model's type has not.
        """
        try:
            pixels, valid = self._reader().read(window)
            return self._convert(pixels, str(self._path)), valid
        except UserError as error:
            raise Unreadable(str(error)) from error

    def _reader(self) -> BandReader:
        if not hasattr(self._own, "reader"):
            # A dataset is for one thread at a time.
            self._own.reader = BandReader(self._path, self._names, self._pages)
            with self._lock:
                self._readers.append(self._own.reader)
        return self._own.reader

    def close(self) -> None:
        """Closes the file."""
        for reader in self._readers:
            reader.close()


def _refuse_vast(path: str | Path, size: tuple[int, int]) -> None:
    """Raises UserError where a raster that is read in windows claims to be too large for that."""
    height, width = size
    refuse_large(path, height, width, 0, MOST_IMAGES * max_pixels())
    most = max(MOST_SIDE, file_size(path))
    if max(size) > most:
        raise UserError(
            f"{path}: is {width}x{height}; the longest side of a raster in a file of its size is "
            f"{most} pixels"
        )


@dataclass(frozen=True)
class ImageWindows:
    """An image in memory that is read as a raster is.

    Attributes:
        image: `[H, W, C]`.
    """

    image: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[:2]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The pixels `[h, w, C]` of a window, all of which are data."""
        row, column, height, width = window
        part = self.image[row : row + height, column : column + width]
        return part, np.ones(part.shape[:2], bool)

    def close(self) -> None:
        """Does nothing."""


def is_raster(path: Path, largest: int) -> bool:
    """Whether a file goes the way of rasters: a TIFF with georeference, or of many pixels.

    Args:
        path: The file.
        largest: The most pixels of a TIFF without georeference that is read as a picture.

    Raises:
        UserError: It is georeferenced, and rasterio is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in TIFF:
        return suffix in SUFFIXES
    try:
        import rasterio  # noqa: F401
    except ImportError:
        if _has_geokeys(path):
            read_header(path)  # whose error names what is missing
        return False
    try:
        header = read_header(path)
    except UserError:
        return False  # reading it as a picture tells why
    placed = header.transform is not None or header.crs is not None or header.points
    return placed or header.size[0] * header.size[1] > largest


def _has_geokeys(path: Path) -> bool:
    """Whether a TIFF says where on the map it is, by the tags of GeoTIFF."""
    try:
        return bool(read_image_header(path, sys.maxsize).tags.intersection(_PLACING_TAGS))
    except UserError:
        return False  # reading it as a picture tells why


@contextlib.contextmanager
def little_cached() -> Iterator[None]:
    """Keeps GDAL, in this process and all its threads, from keeping many blocks in memory."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
        yield


def write_raster(
    path: Path,
    blocks: Iterable[tuple[int, np.ndarray]],
    size: tuple[int, int],
    place: Mapping[str, Any],
    *,
    dtype: str,
    bands: Sequence[str],
    nodata: float,
    palette: np.ndarray | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes a GeoTIFF: tiled, compressed without loss, as BigTIFF where it may need to be.

    Args:
        path: The file; appears when it is whole.
        blocks: The first row of each block of rows, and the rows: `[rows, W]` or
            `[rows, W, bands]`.
        size: Height and width.
        place: From `fcnjax/data/readers/raster/bands.py`.
        dtype: Of the pixels.
        bands: The description of each.
        nodata: The value of pixels without data.
        palette: `[N, 3]` uint8 RGB, for a single band of uint8.
        tags: Metadata.

    Raises:
        UserError: It cannot be written.
    """
    import rasterio
    from rasterio.windows import Window as Part

    profile = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": len(bands),
        "dtype": dtype,
        "nodata": nodata,
        "crs": place["crs"],
        "transform": place["transform"],
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "predictor": 3 if dtype == "float32" else 1,
        "interleave": "band",
        "bigtiff": "if_safer",
    }
    try:
        with (
            atomic(path) as temporary,
            rasterio.open(temporary, "w", **profile) as raster,
        ):
            if place["gcps"]:
                raster.gcps = place["gcps"]
            if place["rpcs"]:
                raster.rpcs = place["rpcs"]
            raster.descriptions = tuple(bands)
            raster.update_tags(**(tags or {}))
            if palette is not None:
                raster.write_colormap(1, {i: (*rgb, 255) for i, rgb in enumerate(palette.tolist())})
            for row, array in blocks:
                part = Part(0, row, size[1], len(array))
                raster.write(np.moveaxis(np.atleast_3d(array), -1, 0), window=part)
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"{path}: cannot be written: {reason}") from error
