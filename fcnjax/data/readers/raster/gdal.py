"""Opening of rasters with GDAL, so that a file selects no driver and opens no other file or URL.

By default GDAL tries all its drivers, including those of web services and databases. It opens what
a file and those beside it name: `OVERVIEW_FILE` in the metadata of a TIFF, `NAME.aux.xml`, and
`NAME.ovr` and `NAME.msk` of any format. Here the file's ending and first bytes select the driver,
and no file beside it is opened, except for a world file, which we read ourselves.

A virtual raster (VRT) may name only rasters in its own folder or below. GDAL's VRTs can also
compute pixels with Python, read raw bytes of any file, warp, and name other VRTs, URLs, archives
and databases. Elements and attributes that are not listed here are refused.
"""

import contextlib
import functools
import math
import os
import re
import warnings
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import numpy as np

from fcnjax.data.readers.errors import decode_error
from fcnjax.data.readers.formats import png
from fcnjax.data.readers.limits import MAX_PIXELS, file_size, max_pixels, refuse_large
from fcnjax.data.readers.tiff.read import MAGIC as TIFF_MAGIC
from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular, read_file

MAX_BYTES = 2**24
MAX_SOURCES = 20_000
# In lower case: GDAL ignores case.
_ELEMENTS = """
    vrtdataset srs geotransform gcplist gcp metadata mdi vrtrasterband description unittype offset
    scale categorynames category colorinterp colortable entry nodatavalue hidenodatavalue
    simplesource complexsource averagedsource sourcefilename sourceband sourceproperties srcrect
    dstrect nodata lut scaleoffset scaleratio exponent srcmin srcmax dstmin dstmax clamp
    colortablecomponent usemaskband maskband overviewlist blockxsize blockysize
"""
_ATTRIBUTES = """
    rasterxsize rasterysize datatype band blockxsize blockysize relativetovrt shared xoff yoff
    xsize ysize resampling dataaxistosrsaxismapping coordinateepoch domain key c1 c2 c3 c4
    projection id info pixel line x y z
"""
_KNOWN_ELEMENTS, _KNOWN_ATTRIBUTES = frozenset(_ELEMENTS.split()), frozenset(_ATTRIBUTES.split())
_DECLARATION = re.compile(
    rb"""\s*<\?xml version=["']1\.0["']( encoding=["'](?i:utf-8)["'])?\s*\?>"""
)
# Patterns that GDAL does not take for the path of a file.
_SPECIAL = re.compile(r"[:<>&|?*\x00-\x1f]|^/vsi|^\s|\s$")
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
# First bytes of the files. A zero among them ends the text that other drivers look at.
_MAGIC = {
    "GTiff": TIFF_MAGIC,
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  ",),
    "HFA": (b"EHFA_HEADER_TAG\0",),
    "PNG": (png.MAGIC + b"\0\0\0",),
}
# Set these while a raster is opened and read: `rasterio.Env(**OPTIONS)`.
OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # do not look for other files
    "GDAL_PAM_ENABLED": "NO",  # do not open NAME.aux.xml
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_HTTP_MAX_RETRY": "0",
}
_WORLD_FILE_BYTES = 4096
MAX_BANDS = 4096  # GDAL is slow with tens of thousands


def vrt_sources(path: Path) -> list[Path]:
    """Return the files that a VRT names, without duplicates.

    Raises:
        UserError: The VRT is damaged, uses an unsupported feature, or names a file outside its
            folder.
    """
    content = read_file(path, MAX_BYTES)
    declaration = _DECLARATION.match(content)
    body = content[declaration.end() :] if declaration else content
    if b"<!" in body or b"<?" in body or b"overview_file" in body.lower():
        raise UserError(
            f"{path}: has comments, declarations, CDATA or OVERVIEW_FILE, which are not read in a "
            "VRT"
        )
    try:
        root = ElementTree.fromstring(body.decode("utf-8"))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise decode_error(path, str(error), "a VRT") from error
    named: dict[Path, None] = {}
    level, depth = [root], 0
    while level:
        depth += 1
        for element in level:
            _refuse_unknown(path, element, depth)
            if element.tag.lower() == "sourcefilename":
                named[_source(path, element)] = None
        level = [child for element in level for child in element]
    if len(named) > MAX_SOURCES:
        raise UserError(f"{path}: names {len(named)} files; the limit is {MAX_SOURCES}")
    return list(named)


def _refuse_unknown(path: Path, element: ElementTree.Element, depth: int) -> None:
    words = [element.tag] if element.tag.lower() not in _KNOWN_ELEMENTS else []
    words += [name for name in element.attrib if name.lower() not in _KNOWN_ATTRIBUTES]
    if depth > 8 or (depth == 1) != (element.tag.lower() == "vrtdataset"):
        words = [element.tag]
    if words:
        raise UserError(
            f"{path}: has {words[0][:40]!r}, which is not read in a VRT; valid: rasters put "
            "together by gdalbuildvrt (gdal_translate writes others as GeoTIFF)"
        )


def _source(path: Path, element: ElementTree.Element) -> Path:
    """Return the file that a `SourceFilename` names."""
    name = element.text or ""
    relative = {key.lower(): value for key, value in element.attrib.items()}.get(
        "relativetovrt", "0"
    )
    if len(element) or not name or _SPECIAL.search(name) or relative not in ("0", "1"):
        raise UserError(f"{path}: names {name[:100]!r}, which is not the path of a file")
    source = path.parent / name if relative == "1" else Path(name).absolute()
    # Symbolic links are followed, as for images.
    folder = os.path.abspath(path.parent)  # noqa: PTH100 (resolve follows links)
    if not Path(os.path.abspath(source)).is_relative_to(folder):  # noqa: PTH100
        raise UserError(f"{path}: names {name}, which is not in its folder or below")
    if source.suffix.lower() == ".vrt":
        raise UserError(f"{path}: names {name}, another VRT, which is not read")
    return source


def open_raster(path: str | Path) -> Any:
    """Open a raster with rasterio; call it, and use the raster, within an environment of `OPTIONS`.

    Raises:
        UserError: The file is missing, of another format than `DRIVERS`, or names other files.
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
    for source in vrt_sources(path):
        _open(source).close()


def _open(path: Path) -> Any:
    """Open a file that is not a VRT."""
    driver = DRIVERS.get(path.suffix.lower())
    with open_regular(path) as file:
        start = file.read(16)
    if not start.startswith(_MAGIC.get(driver, ())):
        valid = ", ".join(suffix for suffix in DRIVERS if suffix != ".vrt")
        reason = f"its first bytes do not match its ending; valid: {valid}"
        raise decode_error(path, reason, "a raster")
    return _checked(path, driver)


def _checked(path: Path, driver: str) -> Any:
    import rasterio
    from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning

    # Pictures without georeference are valid. Of a file with a nodata value that value counts,
    # even if the fourth band is alpha.
    for category in (NotGeoreferencedWarning, NodataShadowWarning):
        warnings.filterwarnings("ignore", category=category)
    with contextlib.ExitStack() as stack:
        raster = stack.enter_context(rasterio.open(path, driver=driver))
        if not raster.count:
            raise UserError(f"{path}: has no bands")
        if raster.count > MAX_BANDS:
            raise UserError(
                f"{path}: has {raster.count} bands; the most that are read is {MAX_BANDS}"
            )
        if raster.tags(ns="OVERVIEWS"):
            raise UserError(f"{path}: has overviews in another file (OVERVIEW_FILE), not read here")
        # VRTs are checked before. An ERDAS image may keep its pixels in one other file.
        others = {path, path.with_suffix(".ige")}
        if driver == "HFA" and not others.issuperset(map(Path, raster.files)):
            raise UserError(f"{path}: has pixels in another file than {path.stem}.ige")
        _refuse_blocks(path, raster)
        stack.pop_all()
        return raster


def _refuse_blocks(path: Path, raster: Any) -> None:
    """Raise `TooLarge` if a block, which GDAL decodes as a whole, is too large."""
    # GDAL has its own names for complex integers, unknown to NumPy.
    sizes = [
        8 if "int" in name and "complex" in name else np.dtype(name).itemsize
        for name in raster.dtypes
    ]
    if raster.driver == "JP2OpenJPEG":
        sizes = [4] * raster.count
    if image_structure(raster).get("INTERLEAVE") == "PIXEL":
        sizes = [sum(sizes)] * raster.count
    limit, file_bytes = max(max_pixels(), MAX_PIXELS), file_size(path)
    for shape, size in set(zip(raster.block_shapes, sizes, strict=True)):
        refuse_large(f"{path}, a block", *shape, size, limit, file_bytes)


def image_structure(raster: Any) -> dict[str, str]:
    """Return the metadata on the arrangement of a raster's pixels; nothing for JPEG 2000.

    For JPEG 2000 GDAL reads the whole code stream, without end in a damaged file.
    """
    return {} if raster.driver == "JP2OpenJPEG" else raster.tags(ns="IMAGE_STRUCTURE")


def transform_of(path: str | Path, raster: Any) -> Any:
    """Return the transform from pixels to the map, of the file or its world file, or None.

    Raises:
        UserError: The transform has numbers that are not finite.
    """
    transform = None if raster.transform.is_identity else raster.transform
    if transform is None and not raster.gcps[0]:
        transform = _world_file(Path(path))
    if transform is not None and not all(map(math.isfinite, transform)):
        raise UserError(f"{path}: has a transform of numbers that are not finite: {transform[:6]}")
    return transform


def _world_file(path: Path) -> Any:
    """Return the transform in a world file such as `NAME.tfw`: six numbers; None without one."""
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
        # A world file refers to the centre of the first pixel.
        return Affine(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)
    return None
