"""Opens rasters with GDAL so that a file selects no driver and opens no other file or URL.

By itself GDAL tries all of its drivers, among them those of web services and databases. It opens
what a file and those beside it name: `OVERVIEW_FILE` in the metadata of a TIFF, `NAME.aux.xml`, and
`NAME.ovr` and `NAME.msk` of any format. Here the driver follows from the file's ending and first
bytes, and no file beside it is opened, except for a world file, which is read by us.
"""

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fcnjax.data.readers.formats import png
from fcnjax.data.readers.limits import MOST_PIXELS, file_size, most_pixels, refuse_large
from fcnjax.data.readers.raster import vrt
from fcnjax.data.readers.tiff.read import MAGIC as TIFF_MAGIC
from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular, read_file

DRIVERS = MappingProxyType(
    {
        ".tif": "GTiff",
        ".tiff": "GTiff",
        ".vrt": "VRT",
        ".jp2": "JP2OpenJPEG",
        ".img": "HFA",
        ".png": "PNG",
    }
)
# The first bytes of their files. A zero among them ends the text that other drivers look at.
_MAGIC = {
    "GTiff": TIFF_MAGIC,
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  ",),
    "HFA": (b"EHFA_HEADER_TAG\0",),
    "PNG": (png.MAGIC + b"\0\0\0",),
}
_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # files beside a file are not looked for
    "GDAL_PAM_ENABLED": "NO",  # nor is NAME.aux.xml
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_HTTP_MAX_RETRY": "0",
}
_WORLD_FILE_BYTES = 4096
MOST_BANDS = 4096  # GDAL takes long for tens of thousands


@contextlib.contextmanager
def gdal_options() -> Iterator[None]:
    """Sets the options of GDAL under which rasters are opened and read, in this thread."""
    import rasterio

    with rasterio.Env(**_OPTIONS):
        yield


def open_raster(path: str | Path) -> Any:
    """Opens a raster with rasterio; to be called, and the raster used, within `gdal_options`.

    Raises:
        UserError: It is missing, is not of a format of `DRIVERS`, or names files that it may not.
    """
    path = Path(path).absolute()
    suffix = path.suffix.lower()
    if suffix not in DRIVERS:
        raise UserError(f"{path}: is not a raster by its ending; valid: {', '.join(DRIVERS)}")
    if DRIVERS[suffix] == "VRT":
        status = path.stat() if path.is_file() else None
        _check_vrt(path, status and (status.st_mtime_ns, status.st_size))
        return _checked(path, "VRT")
    mask = path.with_name(f"{path.name}.msk")
    if mask.exists():
        raise UserError(
            f"{path}: has its mask in {mask.name}, which is not read; gdal_translate with "
            "--config GDAL_TIFF_INTERNAL_MASK YES writes it into the file"
        )
    return _open(path)


@functools.lru_cache(maxsize=1024)
def _check_vrt(path: Path, stamp: object) -> None:
    for source in vrt.sources(path):
        _open(source).close()


def _open(path: Path) -> Any:
    """Opens a file that is not a VRT."""
    driver = DRIVERS.get(path.suffix.lower())
    with open_regular(path) as file:
        start = file.read(16)
    if not start.startswith(_MAGIC.get(driver, ())):
        valid = ", ".join(suffix for suffix in DRIVERS if suffix != ".vrt")
        raise UserError(
            f"{path}: cannot be read as a raster: its first bytes are not those of a file of "
            f"its ending; valid: {valid}"
        )
    return _checked(path, driver)


def _checked(path: Path, driver: str) -> Any:
    import rasterio
    from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning

    # A picture without a place on the map is as welcome; and a file that has a nodata value is
    # read by it, whatever its fourth band is taken for.
    for category in (NotGeoreferencedWarning, NodataShadowWarning):
        warnings.filterwarnings("ignore", category=category)
    with contextlib.ExitStack() as stack:
        raster = stack.enter_context(rasterio.open(path, driver=driver))
        if not raster.count:
            raise UserError(f"{path}: has no bands")
        if raster.count > MOST_BANDS:
            raise UserError(
                f"{path}: has {raster.count} bands; the most that are read is {MOST_BANDS}"
            )
        if raster.tags(ns="OVERVIEWS"):
            raise UserError(f"{path}: has overviews in another file (OVERVIEW_FILE), not read here")
        # The files of a VRT are checked before. An image of ERDAS may have one with its pixels.
        others = {path, path.with_suffix(".ige")}
        if driver == "HFA" and not others.issuperset(map(Path, raster.files)):
            raise UserError(f"{path}: has pixels in another file than {path.stem}.ige")
        _refuse_blocks(path, raster)
        stack.pop_all()
        return raster


def _refuse_blocks(path: Path, raster: Any) -> None:
    """Raises `TooLarge` where a block, which GDAL decodes as a whole, is too large."""
    # Integers that are complex have names of GDAL alone.
    sizes = [
        8 if "int" in name and "complex" in name else np.dtype(name).itemsize
        for name in raster.dtypes
    ]
    if raster.driver == "JP2OpenJPEG":
        sizes = [4] * raster.count
    if image_structure(raster).get("INTERLEAVE") == "PIXEL":
        sizes = [sum(sizes)] * raster.count
    most, file_bytes = max(most_pixels(), MOST_PIXELS), file_size(path)
    for shape, size in set(zip(raster.block_shapes, sizes, strict=True)):
        refuse_large(f"{path}, a block", *shape, size, most, file_bytes)


def image_structure(raster: Any) -> dict[str, str]:
    """The metadata of a raster on the arrangement of its pixels; nothing for a JPEG 2000.

    For those GDAL walks through the whole code stream, in a damaged file without end.
    """
    return {} if raster.driver == "JP2OpenJPEG" else raster.tags(ns="IMAGE_STRUCTURE")


def transform_of(path: str | Path, raster: Any) -> Any:
    """The transform from pixels to the map, of the file or its world file; None: it has neither.

    Raises:
        UserError: It has numbers that are not finite.
    """
    transform = None if raster.transform.is_identity else raster.transform
    if transform is None and not raster.gcps[0]:
        transform = _world_file(Path(path))
    if transform is not None and not all(map(math.isfinite, transform)):
        raise UserError(f"{path}: has a transform of numbers that are not finite: {transform[:6]}")
    return transform


def _world_file(path: Path) -> Any:
    """The transform in `NAME.tfw` or the like: six numbers; None where there is no such file."""
    from rasterio import Affine

    end = path.suffix[1:].lower()
    for suffix in (f"{end[0]}{end[-1]}w", f"{end}w", "wld"):
        file = path.with_suffix(f".{suffix}")
        if not file.is_file():
            continue
        try:
            numbers = [float(word) for word in read_file(file, _WORLD_FILE_BYTES).split()]
            a, d, b, e, x, y = numbers
        except ValueError as error:
            raise UserError(f"{file}: is not a world file, which has six numbers") from error
        # It has the middle of the first pixel.
        return Affine(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)
    return None
