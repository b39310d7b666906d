"""Reads the bands of rasters: GeoTIFF and whatever else rasterio opens, whole or a window of it.

Which bands: the names of `config.data.channels` are sought by the first of these that applies.

1. Each name is the description of a band in the file (capitals do not matter).
2. The names are `R,G,B` or `L`, and bands are marked as red, green and blue, or grey.
3. Each name is the number of a band, from 1 on.
4. The file has as many bands as there are names, and describes none by one of them: in order.

Pixels: uint8 and uint16 stay; int8, int16 and wider become float32, not scaled. Where the file
has no data (its nodata value, mask or alpha, NaN or infinity), a band is 0.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.data.limits import refuse_large
from fcnjax.errors import UserError

# Row, column, height and width, in pixels.
Window = tuple[int, int, int, int]
_MARKS = {"R": "red", "G": "green", "B": "blue", "L": "gray"}


@dataclass(frozen=True)
class Raster:
    """What a raster's header says.

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


def read_bands(path: str | Path, names: Sequence[str], window: Window | None = None) -> np.ndarray:
    """Reads bands by name.

    Args:
        path: The raster.
        names: The bands, by the rule above.
        window: The part to read; None: all. Only the blocks that it touches are read.

    Returns:
        `[H, W, C]` uint8, uint16 or float32.

    Raises:
        UserError: The file is missing, damaged or lacks a band; or rasterio is not installed.
    """
    return read_bands_and_valid(path, names, window)[0]


def read_bands_and_valid(
    path: str | Path, names: Sequence[str], window: Window | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads bands as `read_bands` does, and where there is any data.

    Returns:
        `[H, W, C]`, and `[H, W]` bool: whether one of the bands or more has data.

    Raises:
        UserError: As `read_bands`.
    """
    with _opened(path) as raster:
        return _read(path, raster, _indexes(path, raster, names), window)


class BandReader:
    """Reads bands as `read_bands_and_valid` does, of a file that stays open: for one thread.

    What GDAL has decoded of the file is kept from window to window.

    Args:
        path: The raster.
        names: The bands.

    Raises:
        UserError: As `read_bands`.
    """

    def __init__(self, path: str | Path, names: Sequence[str]):
        self._path = path
        with _naming(path):
            self._raster = _open(path)
            self._indexes = _indexes(path, self._raster, names)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The bands of a window, and where there is any data.

        Raises:
            UserError: The file is damaged.
        """
        with _naming(self._path):
            return _read(self._path, self._raster, self._indexes, window)

    def close(self) -> None:
        """Closes the file."""
        self._raster.close()


def _read(
    path: str | Path, raster: Any, indexes: list[int], window: Window | None
) -> tuple[np.ndarray, np.ndarray]:
    pixels = raster.read(indexes, window=_window(path, raster, window), masked=True)
    if pixels.dtype.kind not in "uif":
        raise UserError(f"{path}: has {pixels.dtype} pixels; valid: whole or real numbers")
    values, valid = pixels.data, ~np.ma.getmaskarray(pixels)
    if values.dtype not in (np.uint8, np.uint16):
        with np.errstate(over="ignore"):  # what float32 does not hold is no data, below
            values = values.astype(np.float32)
        valid &= np.isfinite(values)
    if not valid.all():
        values = np.where(valid, values, values.dtype.type(0))
    return np.ascontiguousarray(np.moveaxis(values, 0, -1)), valid.any(0)


def read_stored(path: str | Path, window: Window | None = None) -> np.ndarray:
    """Reads what a mask stores: whole numbers, of its first band.

    Returns:
        `[H, W]` int32, its nodata value as it is.

    Raises:
        UserError: The file is missing or damaged, has several bands, or other than whole numbers.
    """
    with _opened(path) as raster:
        if raster.count != 1:
            raise UserError(f"{path}: has {raster.count} bands, and a mask has one")
        values = raster.read(1, window=_window(path, raster, window))
    if values.dtype.kind == "f":
        # 2 ** 31 and on, and NaN, have no int32.
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int32)
        if (whole != values).any():
            raise UserError(f"{path}: has {values.dtype} pixels, and a mask has whole numbers")
        return whole
    if values.dtype.kind not in "ui":
        raise UserError(f"{path}: has {values.dtype} pixels, and a mask has whole numbers")
    return values.astype(np.int32)


def read_header(path: str | Path) -> Raster:
    """What a raster's header says.

    Raises:
        UserError: The file is missing or no raster, or rasterio is not installed.
    """
    with _opened(path) as raster:
        palette = None
        if raster.colorinterp[0].name == "palette":
            palette = {index: colour[:3] for index, colour in raster.colormap(1).items()}
        placed = not raster.transform.is_identity
        return Raster(
            size=raster.shape,
            bands=raster.count,
            transform=np.reshape(raster.transform, (3, 3)) if placed else None,
            crs=raster.crs,
            points=bool(raster.gcps[0]),
            nodata=raster.nodatavals[0],
            palette=palette,
        )


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """Opens a raster; any error within becomes a UserError that names it."""
    with _naming(path), _open(path) as raster:
        yield raster


def _open(path: str | Path) -> Any:
    try:
        import rasterio
        from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning
    except ImportError as error:
        raise UserError(f"{path}: reading it needs rasterio: pip install 'fcnjax[geo]'") from error
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    # A picture without a place on the map is as welcome; and a file that has a nodata value is
    # read by it, whatever its fourth band is taken for.
    for category in (NotGeoreferencedWarning, NodataShadowWarning):
        warnings.filterwarnings("ignore", category=category)
    raster = rasterio.open(path)
    if not raster.count:
        raster.close()
        raise UserError(f"{path}: has no bands")
    return raster


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Turns any error within into a UserError that names the raster."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # GDAL's own words are in the cause; rasterio's only point to it.
        reason = str(error.__cause__ or error).strip() or type(error).__name__
        raise UserError(f"{path}: cannot be read as a raster: {reason.splitlines()[0]}") from error


def _window(path: str | Path, raster: Any, window: Window | None) -> Any:
    if window is None:
        refuse_large(path, raster.height, raster.width)
        return None
    from rasterio.windows import Window as Part

    row, column, height, width = window
    refuse_large(f"{path}, a window (config.data.window)", height, width)
    inside = 0 <= row < row + height <= raster.height and 0 <= column < column + width
    if not inside or column + width > raster.width:
        raise UserError(
            f"{path}: is {raster.width}x{raster.height} pixels, and has no window of "
            f"{width}x{height} at column {column}, row {row}"
        )
    return Part(column, row, width, height)


def _indexes(path: str | Path, raster: Any, names: Sequence[str]) -> list[int]:
    """The numbers, from 1 on, of the bands that the names mean."""
    described = _numbered(raster.descriptions)
    found = [described.get(name.lower()) for name in names]
    if all(found):
        return found
    some = any(found)
    if not some and all(name in _MARKS for name in names):
        marks = _numbered(mark.name for mark in raster.colorinterp)
        marked = [marks.get(_MARKS[name]) for name in names]
        if all(marked):
            return marked
    if not some and all(name.isdecimal() for name in names):
        if all(1 <= int(name) <= raster.count for name in names):
            return [int(name) for name in names]
    elif not some and len(names) == raster.count:
        return list(range(1, raster.count + 1))
    missing = next((n for n, i in zip(names, found, strict=True) if i is None), names[0])
    what = ", ".join(
        f"{number} ({text})" if text else str(number)
        for number, text in enumerate(raster.descriptions, 1)
    )
    raise UserError(f"{path}: has no band {missing!r}, by config.data.channels; its bands: {what}")


def _numbered(texts: Any) -> dict[str, int]:
    """The number, from 1 on, of each text in small letters; the first of several alike."""
    numbers: dict[str, int] = {}
    for number, text in enumerate(texts, 1):
        if text:
            numbers.setdefault(text.lower(), number)
    return numbers
