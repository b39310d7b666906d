"""Options of tiled prediction. NumPy is not imported here, for the help of commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fcnjax.errors import UserError, choose, unknown

DEFAULT_TILE = 1024  # side in pixels
MAX_WHOLE_PIXELS = 4096 * 4096  # of an image that is predicted without tiles
BLEND_NAMES = ("gaussian", "linear")  # the keys of `BLENDS` in blend.py
# GDAL's name of the format and its options, by suffix. RFC 7946 requires GeoJSON in longitude and
# latitude of WGS 84; GDAL transforms the coordinates.
DRIVERS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "geojson": ("GeoJSON", MappingProxyType({"RFC7946": "YES"})),
        "gpkg": ("GPKG", MappingProxyType({})),
    }
)


@dataclass(frozen=True)
class TilingOptions:
    """Options of tiled prediction.

    Attributes:
        tile: Height and width of tiles, or None to choose it, and to use tiles only for large
            images.
        overlap: Overlap in pixels, or None to choose it.
        blend: A name in `BLEND_NAMES`.
        vectors: Key of `DRIVERS`, or None to write no polygons.
        simplify: Tolerance of the polygons in pixels.
    """

    tile: tuple[int, int] | None = None
    overlap: int | None = None
    blend: str = "gaussian"
    vectors: str | None = None
    simplify: float = 1.0

    def __post_init__(self):
        """Check the options that need no image; raises UserError."""
        if self.blend not in BLEND_NAMES:
            raise unknown("--blend", self.blend, BLEND_NAMES)
        if self.overlap is not None and self.overlap < 0:
            raise UserError(f"--overlap: {self.overlap} is below 0")
        if self.vectors is not None:
            choose(DRIVERS, self.vectors, "--vectors")
            _require_vectors()
        if not 0 <= self.simplify < float("inf"):
            raise UserError(f"--simplify: {self.simplify:g} is not 0 or a number of pixels")


def _require_vectors() -> None:
    """Raise UserError unless the packages that make polygons are installed."""
    try:
        import pyogrio  # noqa: F401
        import rasterio  # noqa: F401
        import shapely  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--vectors: needs rasterio, shapely and pyogrio: pip install 'fcnjax[geo]'"
        ) from error


def parse_tile(text: str) -> tuple[int, int]:
    """Parse the height and width in `--tile=HxW`.

    Raises:
        UserError: The text is malformed, or a side is below 16 pixels.
    """
    parts = text.lower().split("x")
    if len(parts) == 2 and all(p.isascii() and p.isdecimal() and int(p) >= 16 for p in parts):
        return int(parts[0]), int(parts[1])
    raise UserError(f"--tile: {text!r} is not HEIGHTxWIDTH of 16 pixels or more, as 512x512")
