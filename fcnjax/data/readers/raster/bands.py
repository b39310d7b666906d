"""Reads the bands of rasters: GeoTIFF and whatever else rasterio opens, whole or a window of it.

`band_names.py` says which bands the names of `config.data.channels` mean, and
`fcnjax/data/readers/channels.py` how RGB and L are made of others.

Pixels: uint8 and uint16 stay; int8, int16 and wider become float32, not scaled, and a value beyond
2**24 that float32 does not hold is refused. Where the file has no data (its nodata value or mask,
NaN or infinity), a band is 0. A band that is marked as alpha is a band, and masks nothing.
"""

import contextlib
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.labels.whole_numbers import whole_numbers
from fcnjax.data.readers.channels import CMYK, Bands, choose_bands, combine
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.raster.gdal import gdal_options, image_structure, open_raster, transform_of
from fcnjax.data.readers.stored import RGB, ImageHeader
from fcnjax.data.readers.tiff.read import read_tiff_header
from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular

# Row, column, height and width, in pixels.
Window = tuple[int, int, int, int]
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Raster:
    """The header of a raster.

    Attributes:
        size: Height and width.
        bands: How many.
        transform: `[3, 3]`, from (column, row, 1) to the map; None without georeference.
        crs: The map's coordinate system, or None.
        points: Whether it is placed by points on the map (GCPs) instead.
        nodata: The value of band 1 that means no data, or None.
        palette: RGB by index of band 1, or None.
    """

    size: tuple[int, int]
    bands: int
    transform: np.ndarray | None
    crs: Any
    points: bool
    nodata: float | None
    palette: dict[int, tuple[int, int, int]] | None


def read_bands(
    path: str | Path, names: Sequence[str], window: Window | None = None, pages: str = ""
) -> np.ndarray:
    """Reads bands by name.

    Args:
        path: The raster.
        names: The bands.
        window: The part to read; None: all. Only the blocks that it touches are read.
        pages: `config.data.pages`.

    Returns:
        `[H, W, C]` uint8, uint16 or float32.

    Raises:
        UserError: The file is missing, damaged or lacks a band; or rasterio is not installed.
    """
    return read_bands_and_valid(path, names, window, pages)[0]


def read_bands_and_valid(
    path: str | Path, names: Sequence[str], window: Window | None = None, pages: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Reads bands as `read_bands` does, and where there is any data.

    Returns:
        `[H, W, C]`, and `[H, W]` bool: whether one of the bands or more has data.

    Raises:
        UserError: As `read_bands`.
    """
    with _opened(path, pages) as raster:
        return _read(path, raster, names, window)


class BandReader:
    """Reads bands as `read_bands_and_valid` does, of a file that stays open: for one thread.

    What GDAL has decoded of the file is kept from window to window.

    Args:
        path: The raster.
        names: The bands.
        pages: `config.data.pages`.

    Raises:
        UserError: As `read_bands`.
    """

    def __init__(self, path: str | Path, names: Sequence[str], pages: str = ""):
        self._path, self._names = path, tuple(names)
        with _naming(path):
            self._raster = _open(path, pages)
            _choose(path, self._raster, self._names)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The bands of a window, and where there is any data.

        Raises:
            UserError: The file is damaged.
        """
        with _naming(self._path):
            return _read(self._path, self._raster, self._names, window)

    def close(self) -> None:
        """Closes the file."""
        self._raster.close()


def _read(
    path: str | Path, raster: Any, names: Sequence[str], window: Window | None
) -> tuple[np.ndarray, np.ndarray]:
    from rasterio.enums import MaskFlags

    indexes = [place + 1 for place in _choose(path, raster, names)]
    part = _window(path, raster, window, indexes)
    is_alpha = any(MaskFlags.alpha in raster.mask_flag_enums[index - 1] for index in indexes)
    pixels = raster.read(indexes, window=part, masked=not is_alpha)
    values = np.moveaxis(np.ma.getdata(pixels), 0, -1)
    valid = None if is_alpha else np.moveaxis(~np.ma.getmaskarray(pixels), 0, -1)
    bits = int(raster.tags(indexes[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
    marks = _marks(raster)
    bands = Bands(
        values,
        valid,
        tuple(marks[index - 1] for index in indexes),
        _palette(raster, indexes[0]),
        2**bits - 1 if bits % 8 else None,
        _is_white_zero(raster),
    )
    pixels, valid = combine(path, bands, names)
    valid = np.ones(pixels.shape[:2], bool) if valid is None else valid
    return np.ascontiguousarray(pixels), valid


def _choose(path: str | Path, raster: Any, names: Sequence[str]) -> list[int]:
    """The places, from 0, of the bands that the names mean."""
    descriptions = [text or "" for text in raster.descriptions]
    marks = _marks(raster)
    if _is_cmyk(raster) and tuple(names) not in (("R", "G", "B"), ("L",)):
        marks = list(CMYK)  # which GDAL has made RGB and alpha
    return choose_bands(path, names, descriptions, marks)


def _is_cmyk(raster: Any) -> bool:
    return image_structure(raster).get("SOURCE_COLOR_SPACE") == "CMYK"


def _marks(raster: Any) -> list[str]:
    """The meaning of each band, as `StoredPixels` has it."""
    # To GDAL a grey band of which 0 is white has a palette.
    if raster.count == 1 and _is_white_zero(raster):
        return ["gray"]
    return [mark.name for mark in raster.colorinterp]


def _is_white_zero(raster: Any) -> bool:
    return image_structure(raster).get("MINISWHITE") == "YES"


def _palette(raster: Any, index: int) -> list[RGB] | None:
    if _marks(raster)[index - 1] != "palette":
        return None
    colours = raster.colormap(index)
    return [colours.get(value, (0, 0, 0))[:3] for value in range(max(colours) + 1)]


def read_stored(path: str | Path, window: Window | None = None) -> np.ndarray:
    """Reads what a mask stores: whole numbers, of its only band.

    Returns:
        `[H, W]` uint8 or int32, as `whole_numbers` makes them.

    Raises:
        UserError: The file is missing or damaged, has several bands, or other than whole numbers.
    """
    with _opened(path) as raster:
        if raster.count != 1:
            raise UserError(f"{path}: has {raster.count} bands, and a mask has one")
        values = raster.read(1, window=_window(path, raster, window))
        return whole_numbers(values, path, raster.nodatavals[0])


def read_header(path: str | Path, pages: str = "") -> Raster:
    """Read the header of a raster; `pages` is `config.data.pages`.

    Raises:
        UserError: The file is missing or no raster, or rasterio is not installed.
    """
    with _opened(path, pages) as raster:
        palette = _palette(raster, 1)
        transform = transform_of(path, raster)
        return Raster(
            size=raster.shape,
            bands=raster.count,
            transform=None if transform is None else np.reshape(transform, (3, 3)),
            crs=raster.crs,
            points=bool(raster.gcps[0]),
            nodata=raster.nodatavals[0],
            palette=None if palette is None else dict(enumerate(palette)),
        )


def place_of(path: str | Path) -> dict[str, Any]:
    """The place of a raster on the map, as `write_raster` takes it.

    Raises:
        UserError: As `read_header`.
    """
    with _opened(path, "first") as raster:
        points, of_points = raster.gcps
        return {
            "crs": raster.crs,
            "transform": transform_of(path, raster),
            "gcps": (points, of_points) if points else None,
            "rpcs": raster.rpcs,
        }


@contextlib.contextmanager
def _opened(path: str | Path, pages: str = "") -> Iterator[Any]:
    """Opens a raster; any error within becomes a UserError that names it."""
    with _naming(path), _open(path, pages) as raster:
        yield raster


def _open(path: str | Path, pages: str) -> Any:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file, or not a regular one")
    if Path(path).suffix.lower() in _TIFF:
        _refuse_tiff(path, pages)
    raster = open_raster(path)
    if (colours := image_structure(raster).get("SOURCE_COLOR_SPACE")) == "CIELAB":
        raster.close()
        raise UserError(f"{path}: has colours of the kind {colours}, which cannot be read")
    return raster


def _refuse_tiff(path: str | Path, pages: str) -> None:
    """Raises UserError for a TIFF that GDAL would read as another picture than it is."""
    stat = Path(path).stat()
    header = _tiff_header(str(path), stat.st_mtime_ns, stat.st_size)
    if header.pages > 1 and pages != "first":
        raise UserError(
            f"{path}: holds {header.pages} pages; config.data.pages=first reads the first as a "
            "raster, or save each page as a file"
        )
    if header.orientation != 1:
        raise UserError(
            f"{path}: is turned by its tag Orientation, {header.orientation}, which rasters are "
            "not read with; valid: 1"
        )


@functools.lru_cache(maxsize=4096)
def _tiff_header(path: str, changed: int, size: int) -> ImageHeader:
    with open_regular(path) as file:
        return read_tiff_header(path, file, sys.maxsize)


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Sets GDAL's options, and turns any error within into a UserError that names the raster."""
    try:
        import rasterio  # noqa: F401
    except ImportError as error:
        raise UserError(f"{path}: reading it needs rasterio: pip install 'fcnjax[geo]'") from error
    try:
        with gdal_options():
            yield
    except UserError:
        raise
    except Exception as error:
        # GDAL's own words are in the cause; rasterio's only point to it.
        reason = str(error.__cause__ or error).strip() or type(error).__name__
        raise UserError(f"{path}: cannot be read as a raster: {reason.splitlines()[0]}") from error


def _window(
    path: str | Path, raster: Any, window: Window | None, indexes: Sequence[int] = (1,)
) -> Any:
    pixel_bytes = sum(np.dtype(raster.dtypes[index - 1]).itemsize for index in indexes)
    if window is None:
        # The mask of what is data takes a byte for each band.
        size = (raster.height, raster.width, pixel_bytes + len(indexes))
        refuse_large(path, *size, file_bytes=file_size(path))
        return None
    from rasterio.windows import Window as Part

    row, column, height, width = window
    refuse_large(f"{path}, a window (config.data.geotiff.window)", height, width, pixel_bytes)
    inside = 0 <= row < row + height <= raster.height and 0 <= column < column + width
    if not inside or column + width > raster.width:
        raise UserError(
            f"{path}: is {raster.width}x{raster.height} pixels, and has no window of "
            f"{width}x{height} at column {column}, row {row}"
        )
    return Part(column, row, width, height)
