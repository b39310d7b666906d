"""Options of tiled prediction. JAX is not imported here, for the help of commands."""

from dataclasses import dataclass

from fcnjax.errors import UserError, choose
from fcnjax.inference.outputs.vectors import DRIVERS, require_vectors
from fcnjax.inference.tiling.blend import BLENDS

DEFAULT_TILE = 1024  # side in pixels
MAX_WHOLE_PIXELS = 4096 * 4096  # of an image that is predicted without tiles


@dataclass(frozen=True)
class TilingOptions:
    """Options of tiled prediction.

    Attributes:
        tile: Height and width of tiles, or None to choose it, and to use tiles only for large
            images.
        overlap: Overlap in pixels, or None to choose it.
        blend: Key of `BLENDS`.
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
        choose(BLENDS, self.blend, "--blend")
        if self.overlap is not None and self.overlap < 0:
            raise UserError(f"--overlap: {self.overlap} is below 0")
        if self.vectors is not None:
            choose(DRIVERS, self.vectors, "--vectors")
            require_vectors()
        if not 0 <= self.simplify < float("inf"):
            raise UserError(f"--simplify: {self.simplify:g} is not 0 or a number of pixels")


def parse_tile(text: str) -> tuple[int, int]:
    """Parse the height and width in `--tile=HxW`.

    Raises:
        UserError: The text is malformed, or a side is below 16 pixels.
    """
    parts = text.lower().split("x")
    if len(parts) == 2 and all(p.isascii() and p.isdecimal() and int(p) >= 16 for p in parts):
        return int(parts[0]), int(parts[1])
    raise UserError(f"--tile: {text!r} is not HEIGHTxWIDTH of 16 pixels or more, as 512x512")
