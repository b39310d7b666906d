"""Check of virtual rasters (VRT): they may name only rasters in their own folder or below.

GDAL's VRTs can also compute pixels with Python, read raw bytes of any file, warp, and name other
VRTs, URLs, archives and databases. Elements and attributes that are not listed here are refused.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from fcnjax.data.readers.errors import decode_error
from fcnjax.errors import UserError
from fcnjax.io.regular_files import read_file

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


def sources(path: Path) -> list[Path]:
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
