"""`fcnjax models receptive-field`: compute and measure the receptive field of a logit."""

import math

from fcnjax.cli.models.arguments import (
    add_workdir,
    check_png,
    model_parser,
    parse_arguments,
    parse_size,
)
from fcnjax.errors import UserError
from fcnjax.inspection.receptive_fields import (
    LARGEST,
    draw,
    measure_field,
    print_theoretical,
    summary,
)
from fcnjax.inspection.summaries.weights import load
from fcnjax.inspection.tracing.receptive_field import Field

_EXAMPLES = """
fcnjax models receptive-field folder:encoder=resnet18 --out=field.png
fcnjax models receptive-field folder --config.model.decoder=fcn8s --config.model.encoder=vgg16
fcnjax models receptive-field --workdir=runs/mine --samples=32 --out=field.png"""


def main(argv: list[str]) -> int:
    """Run `fcnjax models receptive-field`."""
    parser = model_parser(
        "receptive-field",
        "Show which pixels the features and logits of a model are computed from (the theoretical "
        "receptive field), and measure how much they contribute (the effective one): the gradient "
        "of a logit on images of noise.",
        _EXAMPLES,
    )
    add_workdir(parser)
    parser.add_argument("--out", metavar="FILE.png", help="write a picture of both fields")
    parser.add_argument(
        "--size",
        metavar="HxW",
        help=f"size of the images (that of the field, at most {LARGEST}x{LARGEST})",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=8,
        metavar="N",
        help="number of images (8); 0 measures nothing",
    )
    args, source = parse_arguments(parser, argv)
    check_png(args.out)
    if args.samples < 0:
        raise UserError(f"--samples: {args.samples} is below 0")
    if args.out and not args.samples:
        raise UserError("--samples: 0 measures nothing, and --out draws what was measured")
    size = parse_size(args.size) if args.size else None
    rows, columns = print_theoretical(source, size)
    if not args.samples:
        return 0
    size = size or (_fitting_side(rows), _fitting_side(columns))
    loaded = load(source, args.step)
    effective = measure_field(loaded, size, args.samples)
    print(f"\n{summary(loaded, effective, rows, columns, args.samples)}")
    if args.out:
        draw(args.out, loaded, effective, rows, columns)
        print(f"\npicture in {args.out}")
    return 0


def _fitting_side(field: Field) -> int:
    """Return a side that holds the field, a multiple of the strides, at most `LARGEST`."""
    return min(64 * math.ceil((field.size + 16) / 64), LARGEST)
