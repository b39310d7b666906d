"""Windows of rasters and images, read by several threads."""

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnjax.data.readers.decode import read_image_header
from fcnjax.data.readers.limits import file_size, max_pixels, refuse_large
from fcnjax.data.readers.raster.bands import BandReader, Window, read_header
from fcnjax.errors import UserError

RASTER_SUFFIXES = (".vrt", ".jp2", ".img")  # always read as rasters
TIFF_SUFFIXES = (".tif", ".tiff")  # read as rasters by their georeference or size
_GEOREFERENCE_TAGS = (33922, 34264, 34735)  # ModelTiepoint, ModelTransformation, GeoKeyDirectory
MAX_PIXEL_RATIO = 100  # pixels of a raster, relative to the limit for images read at once
MAX_SIDE = 2**18  # of a raster in a small file, since rows of tiles are buffered at full width


class RasterReadError(UserError):
    """A window of a raster cannot be read; other files are not affected."""


class RasterWindows:
    """A raster whose windows are read by several threads.

    Args:
        path: The file.
        names: Names of the bands, as `BandReader` takes them.
        convert: `convert(pixels, path)` converts pixels to the model's type, as `Model.convert`.
        pages: `config.data.pages`.

    Attributes:
        size: Height and width.

    Raises:
        UserError: The file cannot be read, or lacks a band.
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str],
        convert: Callable[[np.ndarray, str], np.ndarray],
        pages: str = "",
    ):
        self._path, self._names, self._pages, self._convert = path, tuple(names), pages, convert
        self._local, self._readers, self._lock = threading.local(), [], threading.Lock()
        self.size = read_header(path, pages).size
        _check_size(path, self.size)
        self._reader()  # raises its errors before any work

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return the bands `[h, w, C]` of a window, and bool `[h, w]` where there is data.

        Raises:
            RasterReadError: The file is damaged, or the model's type cannot represent a value.
        """
        try:
            pixels, valid = self._reader().read(window)
            return self._convert(pixels, str(self._path)), valid
        except UserError as error:
            raise RasterReadError(str(error)) from error

    def _reader(self) -> BandReader:
        if not hasattr(self._local, "reader"):
            # A rasterio dataset is not thread-safe.
            self._local.reader = BandReader(self._path, self._names, self._pages)
            with self._lock:
                self._readers.append(self._local.reader)
        return self._local.reader

    def close(self) -> None:
        """Close the file."""
        for reader in self._readers:
            reader.close()


def _check_size(path: str | Path, size: tuple[int, int]) -> None:
    """Raise UserError if a raster is too large to be read in windows."""
    height, width = size
    refuse_large(path, height, width, 0, MAX_PIXEL_RATIO * max_pixels())
    longest = max(MAX_SIDE, file_size(path))
    if max(size) > longest:
        raise UserError(
            f"{path}: is {width}x{height}; the longest side of a raster in a file of its size is "
            f"{longest} pixels"
        )


@dataclass(frozen=True)
class ImageWindows:
    """An image in memory with the interface of `RasterWindows`.

    Attributes:
        image: `[H, W, C]`.
    """

    image: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[:2]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels `[h, w, C]` of a window, and bool `[h, w]`, all True."""
        row, column, height, width = window
        part = self.image[row : row + height, column : column + width]
        return part, np.ones(part.shape[:2], bool)


def is_raster(path: Path, max_pixels: int) -> bool:
    """Return whether a file is predicted as a raster: a TIFF with georeference or many pixels.

    Args:
        path: The file.
        max_pixels: Size up to which a TIFF without georeference is read as an image.

    Raises:
        UserError: The file is georeferenced, and rasterio is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in TIFF_SUFFIXES:
        return suffix in RASTER_SUFFIXES
    try:
        import rasterio  # noqa: F401
    except ImportError:
        if _has_geokeys(path):
            read_header(path)  # raises the error that names the missing package
        return False
    try:
        header = read_header(path)
    except UserError:
        return False  # reading it as an image raises a better error
    has_georeference = header.transform is not None or header.crs is not None or header.points
    return has_georeference or header.size[0] * header.size[1] > max_pixels


def _has_geokeys(path: Path) -> bool:
    """Return whether a TIFF has the georeference tags of GeoTIFF."""
    try:
        return bool(read_image_header(path, sys.maxsize).tags.intersection(_GEOREFERENCE_TAGS))
    except UserError:
        return False  # reading it as an image raises a better error
