"""`fcnjax models receptive-field`: compute and measure the receptive field of a logit."""

import math

from fcnjax.errors import UserError
from fcnjax.inspection.receptive_fields.drawing import (
    LARGEST,
    draw,
    measured,
    print_theoretical,
    summary,
)
from fcnjax.inspection.summaries.drawing import check_png
from fcnjax.inspection.summaries.source import add_workdir, make_parser, parse, parse_size
from fcnjax.inspection.summaries.weights import load
from fcnjax.inspection.tracing.receptive_field import Field

_EXAMPLES = """\
  fcnjax models receptive-field folder:encoder=resnet18 --out=field.png
  fcnjax models receptive-field folder --config.model.decoder=fcn8s --config.model.encoder=vgg16
  fcnjax models receptive-field --workdir=runs/mine --samples=32 --out=field.png
"""


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
        help=f"of the image measured (the field's, to {LARGEST}x{LARGEST})",
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
    effective = measured(loaded, size, args.samples)
    print(f"\n{summary(loaded, effective, rows, columns, args.samples)}")
    if args.out:
        draw(args.out, loaded, effective, rows, columns)
        print(f"\npicture in {args.out}")
    return 0


def _fitting(field: Field) -> int:
    """A side of an image that holds the field, of the strides' multiples, or the largest."""
    return min(64 * math.ceil((field.size + 16) / 64), LARGEST)
