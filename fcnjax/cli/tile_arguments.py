"""Arguments of `fcnjax predict` for large images and rasters."""

import argparse

from fcnjax.errors import UserError
from fcnjax.inference.dispatch import MAX_WHOLE_PIXELS
from fcnjax.inference.outputs.vectors import DRIVERS
from fcnjax.inference.tiling.blend import BLENDS
from fcnjax.inference.tiling.plan import DEFAULT_TILE, parse_tile
from fcnjax.inference.tiling.tiler import TilingOptions

OPTIONS = ("tile", "overlap", "blend", "vectors", "simplify")


def add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `parse_tiling` reads."""
    group = parser.add_argument_group(
        "large images and rasters (docs/predict.md)",
        f"Georeferenced rasters, and images of over {MAX_WHOLE_PIXELS / 1e6:.1f} megapixels, are "
        "predicted in tiles.",
    )
    group.add_argument(
        "--tile",
        metavar="HxW",
        help="predict images of any size in tiles of this size (large ones in "
        f"{DEFAULT_TILE}x{DEFAULT_TILE})",
    )
    group.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="overlap in pixels (from the model's receptive field)",
    )
    group.add_argument(
        "--blend", metavar="|".join(BLENDS), help=f"weights of tiles ({next(iter(BLENDS))})"
    )
    group.add_argument(
        "--vectors", metavar="|".join(DRIVERS), help="also write the mask of a raster as polygons"
    )
    group.add_argument(
        "--simplify", type=float, metavar="N", help="tolerance of polygons in pixels (1)"
    )


def parse_tiling(args: argparse.Namespace) -> TilingOptions:
    """Return the options of tiled prediction that the arguments describe.

    Raises:
        UserError: An argument is invalid, or needs another one.
    """
    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    if options and args.runner != "local":
        raise UserError(f"--{next(iter(options))}: needs --runner=local")
    if "simplify" in options and "vectors" not in options:
        raise UserError("--simplify: needs --vectors")
    if "tile" in options:
        options["tile"] = parse_tile(options["tile"])
    return TilingOptions(**options)
