"""Reading of the bands of rasters: GeoTIFF and other formats of rasterio, whole or a window.

`fcnjax/data/readers/channels.py` matches the names in `config.data.channels` to bands, and makes
RGB and L from other bands.

uint8 and uint16 stay; int8, int16 and wider types become float32, unscaled, and a value above
2**24 that is not exact in float32 is refused. Pixels without data (nodata value or mask, NaN or
infinity) are 0. An alpha band is a band like the others, and masks nothing.
"""

import contextlib
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.readers.channels import GREY_NAMES, RGB_NAMES, choose_bands, combine_bands
from fcnjax.data.readers.conversion import to_integers
from fcnjax.data.readers.errors import decode_errors, require_package
from fcnjax.data.readers.limits import file_size, refuse_large
from fcnjax.data.readers.raster.gdal import OPTIONS, image_structure, open_raster, transform_of
from fcnjax.data.readers.stored_pixels import CMYK, RGB, ImageHeader, StoredPixels
from fcnjax.data.readers.tiff.read import read_tiff_header
from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular

Window = tuple[int, int, int, int]  # row, column, height and width in pixels
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Raster:
    """The header of a raster.

    Attributes:
        size: Height and width.
        bands: Number of bands.
        transform: `[3, 3]`, from (column, row, 1) to the map; None without georeference.
        crs: The coordinate reference system, or None.
        points: Whether ground control points (GCPs) georeference it instead.
        nodata: Nodata value of band 1, or None.
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
    """Read bands by name.

    Args:
        path: The raster.
        names: Names of bands.
        window: The window to read; None: all. Only blocks that intersect it are read.
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
    """Read bands as `read_bands` does, and a mask of valid pixels.

    Returns:
        `[H, W, C]`, and `[H, W]` bool: true where at least one band has data.

    Raises:
        UserError: As `read_bands`.
    """
    with _opened(path, pages) as raster:
        return _read(path, raster, names, window)


class BandReader:
    """Reader of windows of a file that stays open, for one thread.

    It reads as `read_bands_and_valid` does. GDAL keeps decoded blocks between windows.

    Args:
        path: The raster.
        names: Names of bands.
        pages: `config.data.pages`.

    Raises:
        UserError: As `read_bands`.
    """

    def __init__(self, path: str | Path, names: Sequence[str], pages: str = ""):
        self._path, self._names = path, tuple(names)
        with _gdal(path):
            self._raster = _open(path, pages)
            _choose(path, self._raster, self._names)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return the bands of a window, and a mask of valid pixels.

        Raises:
            UserError: The file is damaged.
        """
        with _gdal(self._path):
            return _read(self._path, self._raster, self._names, window)

    def close(self) -> None:
        """Close the file."""
        self._raster.close()


def _read(
    path: str | Path, raster: Any, names: Sequence[str], window: Window | None
) -> tuple[np.ndarray, np.ndarray]:
    from rasterio.enums import MaskFlags

    bands = [index + 1 for index in _choose(path, raster, names)]
    window = _check_window(path, raster, window, bands)
    is_alpha = any(MaskFlags.alpha in raster.mask_flag_enums[band - 1] for band in bands)
    pixels = raster.read(bands, window=window, masked=not is_alpha)
    bits = int(raster.tags(bands[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
    colorinterp = _colorinterp(raster)
    stored = StoredPixels(
        pixels=np.moveaxis(np.ma.getdata(pixels), 0, -1),
        valid=None if is_alpha else np.moveaxis(~np.ma.getmaskarray(pixels), 0, -1),
        format=raster.driver,
        colorinterp=tuple(colorinterp[band - 1] for band in bands),
        palette=_palette(raster, bands[0]),
        max_value=2**bits - 1 if bits % 8 else None,
        white_is_zero=_is_white_zero(raster),
    )
    pixels, valid = combine_bands(path, stored, names)
    valid = np.ones(pixels.shape[:2], bool) if valid is None else valid
    return np.ascontiguousarray(pixels), valid


def _choose(path: str | Path, raster: Any, names: Sequence[str]) -> list[int]:
    """Return the indices of the named bands."""
    descriptions = [text or "" for text in raster.descriptions]
    colorinterp = _colorinterp(raster)
    is_cmyk = image_structure(raster).get("SOURCE_COLOR_SPACE") == "CMYK"
    if is_cmyk and tuple(names) not in (RGB_NAMES, GREY_NAMES):
        colorinterp = list(CMYK)  # GDAL has converted it to RGB and alpha
    return choose_bands(path, names, descriptions, colorinterp)


def _colorinterp(raster: Any) -> list[str]:
    """Return the meaning of each band, as in `StoredPixels`."""
    # GDAL gives a palette to a grey band in which 0 is white.
    if raster.count == 1 and _is_white_zero(raster):
        return ["gray"]
    return [role.name for role in raster.colorinterp]


def _is_white_zero(raster: Any) -> bool:
    return image_structure(raster).get("MINISWHITE") == "YES"


def _palette(raster: Any, band: int) -> list[RGB] | None:
    if _colorinterp(raster)[band - 1] != "palette":
        return None
    colours = raster.colormap(band)
    return [colours.get(value, (0, 0, 0))[:3] for value in range(max(colours) + 1)]


def read_mask_values(path: str | Path, window: Window | None = None) -> np.ndarray:
    """Read the integers that a mask stores in its only band.

    Returns:
        `[H, W]` uint8 or int32, as `to_integers` converts them.

    Raises:
        UserError: The file is missing or damaged, has several bands, or values not integer.
    """
    with _opened(path) as raster:
        if raster.count != 1:
            raise UserError(f"{path}: has {raster.count} bands, and a mask has one")
        values = raster.read(1, window=_check_window(path, raster, window))
        return to_integers(values, path, raster.nodatavals[0])


def read_header(path: str | Path, pages: str = "") -> Raster:
    """Read the header of a raster; `pages` is `config.data.pages`.

    Raises:
        UserError: The file is missing or not a raster, or rasterio is not installed.
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


def read_georeference(path: str | Path) -> dict[str, Any]:
    """Read the georeference of a raster, as keyword arguments of `write_raster`.

    Raises:
        UserError: As `read_header`.
    """
    with _opened(path, "first") as raster:
        points, points_crs = raster.gcps
        return {
            "crs": raster.crs,
            "transform": transform_of(path, raster),
            "gcps": (points, points_crs) if points else None,
            "rpcs": raster.rpcs,
        }


@contextlib.contextmanager
def _opened(path: str | Path, pages: str = "") -> Iterator[Any]:
    """Open a raster, with errors as in `_gdal`."""
    with _gdal(path), _open(path, pages) as raster:
        yield raster


@contextlib.contextmanager
def _gdal(path: str | Path) -> Iterator[None]:
    """Set GDAL's options, and convert errors within to a UserError that names the raster."""
    require_package(path, "rasterio", "geo")
    import rasterio

    with decode_errors(path, "a raster"), rasterio.Env(**OPTIONS):
        yield


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
    """Raise UserError for a TIFF that GDAL would not read as other readers do."""
    stat = Path(path).stat()
    header = _tiff_header(str(path), stat.st_mtime_ns, stat.st_size)
    if header.pages > 1 and pages != "first":
        raise UserError(
            f"{path}: holds {header.pages} pages; config.data.pages=first reads the first as a "
            "raster, or save each page as a file"
        )
    if header.orientation != 1:
        raise UserError(
            f"{path}: has the tag Orientation {header.orientation}, which is not supported in "
            "rasters; valid: 1"
        )


@functools.lru_cache(maxsize=4096)
def _tiff_header(path: str, mtime_ns: int, size: int) -> ImageHeader:
    with open_regular(path) as file:
        return read_tiff_header(path, file, sys.maxsize)


def _check_window(
    path: str | Path, raster: Any, window: Window | None, bands: Sequence[int] = (1,)
) -> Any:
    """Return the window for rasterio, or None for all; refuse a large one or one outside."""
    pixel_bytes = sum(np.dtype(raster.dtypes[band - 1]).itemsize for band in bands)
    if window is None:
        # The mask of valid pixels takes a byte for each band.
        size = (raster.height, raster.width, pixel_bytes + len(bands))
        refuse_large(path, *size, file_bytes=file_size(path))
        return None
    from rasterio import windows

    row, column, height, width = window
    refuse_large(f"{path}, a window (config.data.geotiff.window)", height, width, pixel_bytes)
    inside = 0 <= row < row + height <= raster.height and 0 <= column < column + width
    if not inside or column + width > raster.width:
        raise UserError(
            f"{path}: is {raster.width}x{raster.height} pixels, and has no window of "
            f"{width}x{height} at column {column}, row {row}"
        )
    return windows.Window(column, row, width, height)
