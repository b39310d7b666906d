"""Arguments of the commands that use a trained model."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from fcnjax.cli.parsers import add_model, add_resize, add_step, parse_step
from fcnjax.errors import UserError
from fcnjax.inference.outputs.image_outputs import OUTPUTS
from fcnjax.inference.tiling.options import (
    BLEND_NAMES,
    DEFAULT_TILE,
    DRIVERS,
    MAX_WHOLE_PIXELS,
    TilingOptions,
    parse_tile,
)

if TYPE_CHECKING:
    from fcnjax.inference import Request

T = TypeVar("T")
TILING_OPTIONS = ("tile", "overlap", "blend", "vectors", "simplify")


def add_model_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add `--model` (once, or several times), `--step`, `--dtype`, `--resize` and `--engine`."""
    add_model(parser, several=several, required=True)
    add_step(parser)
    parser.add_argument(
        "--dtype",
        metavar="float32|bfloat16",
        help="of the computation; bfloat16 is faster on GPUs, TPUs",
    )
    add_resize(parser)
    parser.add_argument(
        "--engine",
        default="xla",
        metavar="NAME",
        help="computes: xla, openvino, onnxruntime or auto (xla)",
    )


def add_request_arguments(parser: argparse.ArgumentParser, *, outputs: str | None = None) -> None:
    """Add the arguments that `parse_request` reads.

    Args:
        parser: The parser.
        outputs: Fixed outputs, or None for the argument `--outputs`.
    """
    add_model_arguments(parser, several=True)
    if outputs is None:
        parser.add_argument(
            "--outputs",
            default="mask,overlay",
            metavar="LIST",
            help="outputs to write (mask,overlay), of "
            + ", ".join(f"{name} ({spec.summary})" for name, spec in OUTPUTS.items()),
        )
    else:
        parser.set_defaults(outputs=outputs)
    averaged = parser.add_argument_group("averaged predictions")
    averaged.add_argument(
        "--tta",
        default="",
        metavar="LIST",
        help="test-time augmentation with hflip, vflip, rot90",
    )
    averaged.add_argument(
        "--scales", default="1", metavar="LIST", help="scale factors, such as 0.75,1,1.25 (1)"
    )
    averaged.add_argument(
        "--dropout-samples",
        type=int,
        default=0,
        metavar="N",
        help="average N samples with dropout (0: no dropout)",
    )
    mask = parser.add_argument_group("post-processing of the mask")
    mask.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="CLASS:P",
        help="predict a class from this probability on; repeatable",
    )
    mask.add_argument(
        "--smallest-region",
        type=int,
        default=0,
        metavar="N",
        help="give regions of fewer pixels the class around them",
    )
    mask.add_argument(
        "--largest-hole",
        type=int,
        default=0,
        metavar="N",
        help="fill holes (class 0 inside another class) of at most so many pixels",
    )


def parse_request(args: argparse.Namespace) -> "Request":
    """Return the request that the arguments describe.

    Raises:
        UserError: An argument is invalid.
    """
    from fcnjax.inference import Request

    step = parse_step(args.step)
    return Request(
        models=tuple((model, step) for model in args.model),
        dtype=args.dtype,
        outputs=_split_list("--outputs", args.outputs, str),
        tta=_split_list("--tta", args.tta, str),
        scales=_split_list("--scales", args.scales, float),
        dropout_samples=args.dropout_samples,
        thresholds=tuple(args.threshold),
        smallest_region=args.smallest_region,
        largest_hole=args.largest_hole,
        resize=args.resize,
        engine=args.engine,
    )


def _split_list(flag: str, text: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    """Parse the parts of a comma-separated list, which may be empty."""
    try:
        return tuple(parse(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UserError(f"{flag}: {text!r} is no list of numbers") from error


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
        "--blend", metavar="|".join(BLEND_NAMES), help=f"weights of tiles ({BLEND_NAMES[0]})"
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
    options = {
        name: getattr(args, name) for name in TILING_OPTIONS if getattr(args, name) is not None
    }
    if options and args.runner != "local":
        raise UserError(f"--{next(iter(options))}: needs --runner=local")
    if "simplify" in options and "vectors" not in options:
        raise UserError("--simplify: needs --vectors")
    if "tile" in options:
        options["tile"] = parse_tile(options["tile"])
    return TilingOptions(**options)
