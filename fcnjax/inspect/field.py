"""`fcnjax models receptive-field`: what a prediction is computed from, and what of it counts."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from rich.progress import track

from fcnjax.charts import ticks
from fcnjax.errors import UserError
from fcnjax.inspect.drawing import SOFT, Canvas, check_png, heat, resized
from fcnjax.inspect.effective_field import SHARE, Effective, gradient_of, measure
from fcnjax.inspect.source import Source, add_workdir, make_parser, parse, parse_size
from fcnjax.inspect.text import table
from fcnjax.inspect.weights import Loaded, calibrated, load
from fcnjax.models import Segmenter, build_model
from fcnjax.tracing.program import Path, encode, trace
from fcnjax.tracing.receptive_field import Field, receptive_fields

_EXAMPLES = """\
  fcnjax models receptive-field folder:encoder=resnet18 --out=field.png
  fcnjax models receptive-field folder --config.model.decoder=fcn8s --config.model.encoder=vgg16
  fcnjax models receptive-field --workdir=runs/mine --samples=32 --out=field.png
"""
_LARGEST = 512  # pixels a side of the image that is measured, where no size is given
_SIDE = 640  # of the heat map in the picture
_DECADES = 4  # of the heat map's scale
_THEORETICAL, _BOX, _CIRCLE = (86, 180, 233), (255, 255, 255), (0, 220, 130)


def main(argv: list[str]) -> int:
    """`fcnjax models receptive-field`."""
    parser = make_parser(
        "receptive-field",
        "Tells which pixels the features and logits of a model are computed from (the theoretical "
        "receptive field), and measures how much they count (the effective one): the gradient of a "
        "logit, by images of noise.",
        _EXAMPLES,
    )
    add_workdir(parser)
    parser.add_argument("--out", metavar="FILE.png", help="a picture of both fields")
    parser.add_argument(
        "--size",
        metavar="HxW",
        help=f"of the image measured (the field's, to {_LARGEST}x{_LARGEST})",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=8,
        metavar="N",
        help="images of noise (8); 0 measures nothing",
    )
    args, source = parse(parser, argv)
    check_png(args.out)
    if args.samples < 0:
        raise UserError(f"--samples: {args.samples} is below 0")
    if args.out and not args.samples:
        raise UserError("--samples: 0 measures nothing, and --out draws what was measured")
    given = parse_size(args.size) if args.size else None
    rows, columns = print_theoretical(source, given)
    if not args.samples:
        return 0
    size = given or (_fitting(rows), _fitting(columns))
    loaded = load(source, args.step)
    effective = _measured(loaded, size, args.samples)
    print(f"\n{_summary(loaded, effective, rows, columns, args.samples)}")
    if args.out:
        draw(args.out, loaded, effective, rows, columns)
        print(f"\npicture in {args.out}")
    return 0


def _fitting(field: Field) -> int:
    """A side of an image that holds the field, of the strides' multiples, or the largest."""
    return min(64 * math.ceil((field.size + 16) / 64), _LARGEST)


def print_theoretical(source: Source, size: tuple[int, int] | None) -> tuple[Field, Field]:
    """Prints the fields of the encoder's features and of the logits; returns that of the logits.

    Returns:
        Along the rows and along the columns.
    """
    model = build_model(source.config)
    shape = (1, *(size or (_LARGEST, _LARGEST)), model.in_channels)
    rows = [("receptive field of", "stride", "pixels, height x width", "")]
    for name, module, run in (("feature", model.encoder, encode), ("logit", model, _logits)):
        program = trace(module, run, shape)
        try:
            fields = [receptive_fields(module, run, shape, axis, program) for axis in (1, 2)]
        except NotImplementedError as error:
            name = f"{source.config.model.decoder} over {source.config.model.encoder}"
            raise UserError(f"{name}: {error}") from error
        strides = model.encoder.strides if name == "feature" else (1,)
        for i, (stride, *both) in enumerate(zip(strides, *fields, strict=True), start=1):
            label = f"{name} {i}" if name == "feature" else f"{name} in the middle"
            sizes = f"{both[0].size}x{both[1].size}"
            rows.append((label, str(stride), sizes, _whole(both[0].whole)))
    model_name = f"{source.config.model.decoder} over {source.config.model.encoder}"
    print(f"{model_name}\n\n{table(rows, right=(1, 2))}")
    return both[0], both[1]


def _logits(model: Segmenter, image: jax.Array) -> jax.Array:
    return model(image)["logits"]


def _whole(modules: Sequence[Path]) -> str:
    if not modules:
        return ""
    more = f" and {len(modules) - 1} more" if modules[1:] else ""
    return f"and the whole image, by {'.'.join(modules[0]) or 'the model'}{more}"


def _measured(loaded: Loaded, size: tuple[int, int], samples: int) -> Effective:
    gradient = gradient_of(loaded.model, _logits, (1, *size, loaded.model.in_channels))
    variables = calibrated(loaded) if loaded.random else loaded.variables
    return measure(gradient, variables, track(range(samples), description="measure"))


def _summary(
    loaded: Loaded, effective: Effective, rows: Field, columns: Field, samples: int
) -> str:
    height, width = effective.weights.shape
    share = effective.box**2 / (rows.size * columns.size)
    beyond = rows.size > height or columns.size > width
    lines = [
        ("weights", loaded.weights),
        ("measured on", f"{samples} images of noise of {height}x{width}"),
        (
            f"{SHARE:.0%} of |gradient|",
            f"in {effective.box}x{effective.box} around the pixel: {share:.1%} of the "
            "theoretical field",
        ),
        (
            "Gaussian",
            f"sigma {effective.sigma:.1f}; the circle of two sigma is {4 * effective.sigma:.0f} "
            "across",
        ),
    ]
    if beyond:
        lines.append(("", "the field is larger than the images; --size measures larger ones"))
    return table(lines)


def draw(path: str, loaded: Loaded, effective: Effective, rows: Field, columns: Field) -> None:
    """Draws the weights, the theoretical box, the box of 95 % and the circle of two sigma."""
    height, width = effective.weights.shape
    zoom = _SIDE / max(height, width)
    high, wide = round(height * zoom), round(width * zoom)
    left, top = 24, 76
    canvas = Canvas(left + wide + 330, top + max(high, 420) + 60)
    config = loaded.config.model
    canvas.text(
        (left, 16), f"Receptive field of a logit: {config.decoder} over {config.encoder}", 22
    )
    canvas.text((left, 46), f"weights {loaded.weights}", 14, SOFT)
    canvas.picture((left, top), resized(heat(_logarithmic(effective.weights)), high, wide))

    def corners(before: float, after: float, up: float, down: float) -> list[float]:
        row, column = effective.middle
        places = (column + before, row + up, column + after, row + down)
        limits = (wide, high, wide, high)
        starts = (left, top, left, top)
        clipped = (min(max(p * zoom, 0), most) for p, most in zip(places, limits, strict=True))
        return [start + place for start, place in zip(starts, clipped, strict=True)]

    canvas.rectangle(corners(columns.before, columns.after, rows.before, rows.after), _THEORETICAL)
    half = effective.box / 2
    canvas.rectangle(corners(0.5 - half, 0.5 + half, 0.5 - half, 0.5 + half), _BOX)
    reach = 2 * effective.sigma
    canvas.circle(corners(0.5 - reach, 0.5 + reach, 0.5 - reach, 0.5 + reach), _CIRCLE)
    _scale_bar(canvas, left, top + high + 16, zoom, width)
    _legend(canvas, left + wide + 28, top, effective, rows, columns)
    canvas.save(path)


def _logarithmic(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 1 + np.log10(weights / weights.max()) / _DECADES


def _scale_bar(canvas: Canvas, left: int, top: int, zoom: float, width: int) -> None:
    length = next(tick for tick in ticks(0, width / 3) if tick > 0)
    canvas.line((left, top, left + length * zoom, top), (27, 31, 39), 4)
    canvas.text((left, top + 8), f"{length:g} pixels of {width}", 14, SOFT)


def _legend(
    canvas: Canvas, left: int, top: int, effective: Effective, rows: Field, columns: Field
) -> None:
    height, width = effective.weights.shape
    beyond = rows.size > height or columns.size > width
    whole = "and the whole image, by means" if rows.whole else ""
    box = f"{effective.box}x{effective.box} pixels"
    items = [
        (_THEORETICAL, "theoretical field", f"{rows.size}x{columns.size} pixels", whole),
        (_BOX, f"{SHARE:.0%} of the gradient", box, ""),
        (_CIRCLE, "two sigma of the Gaussian", f"{4 * effective.sigma:.0f} pixels across", ""),
    ]
    if beyond:
        items[0] = (*items[0][:2], f"{items[0][2]}, cut off here", whole)
    for i, (colour, name, size, more) in enumerate(items):
        y = top + 72 * i
        canvas.picture((left, y), np.full((26, 26, 3), (27, 31, 39), np.uint8))
        canvas.rectangle((left + 4, y + 4, left + 21, y + 21), colour)
        canvas.text((left + 38, y - 2), name)
        canvas.text((left + 38, y + 18), size, 14, SOFT)
        canvas.text((left + 38, y + 36), more, 14, SOFT)
    y = top + 72 * len(items) + 8
    canvas.text((left, y), "|gradient|, of its greatest")
    ramp = np.repeat(np.linspace(1, 0, 160)[:, None], 26, 1)
    canvas.picture((left, y + 28), heat(ramp))
    for i in range(_DECADES + 1):
        canvas.text((left + 38, y + 20 + 160 * i / _DECADES), f"{10.0**-i:g}", 14, SOFT)
