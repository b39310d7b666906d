"""What `fcnjax predict` is told of large images and rasters."""

import argparse

from fcnjax.errors import UserError
from fcnjax.inference.outputs.vectors import DRIVERS
from fcnjax.inference.tiling.overlap import TILE, parse_tile
from fcnjax.inference.tiling.predictor import LARGEST, Tiling
from fcnjax.inference.tiling.tiles import BLENDS

FLAGS = ("tile", "overlap", "blend", "vectors", "simplify")


def add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `tiling_of` reads."""
    group = parser.add_argument_group(
        "large images and rasters (docs/predict.md)",
        f"Georeferenced rasters, and images of over {LARGEST / 1e6:.1f} megapixels, go in tiles.",
    )
    group.add_argument(
        "--tile", metavar="HxW", help=f"of this size, any image ({TILE}x{TILE}, large ones)"
    )
    group.add_argument(
        "--overlap", type=int, metavar="N", help="pixels (by the model's receptive field)"
    )
    group.add_argument(
        "--blend", metavar="|".join(BLENDS), help=f"weights of tiles ({next(iter(BLENDS))})"
    )
    group.add_argument(
        "--vectors", metavar="|".join(DRIVERS), help="write a raster's mask as polygons, too"
    )
    group.add_argument(
        "--simplify", type=float, metavar="N", help="tolerance of polygons in pixels (1)"
    )


def tiling_of(args: argparse.Namespace) -> Tiling:
    """How large images are labelled, by the arguments.

    Raises:
        UserError: One of them is wrong, or goes with another that is not there.
    """
    given = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    if given and args.runner != "local":
        raise UserError(f"--{next(iter(given))}: needs --runner=local")
    if "simplify" in given and "vectors" not in given:
        raise UserError("--simplify: needs --vectors")
    if "tile" in given:
        given["tile"] = parse_tile(given["tile"])
    return Tiling(**given)
