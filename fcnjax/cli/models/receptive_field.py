"""`fcnjax models receptive-field`: compute and measure the receptive field of a logit."""

from fcnjax.cli.models.arguments import (
    add_weights,
    check_png,
    model_parser,
    parse_arguments,
    parse_size,
)
from fcnjax.cli.parsers import parse_step
from fcnjax.errors import UserError

_EXAMPLES = """
fcnjax models receptive-field folder:encoder=resnet18 --out=field.png
fcnjax models receptive-field folder --config.model.decoder=fcn8s --config.model.encoder=vgg16
fcnjax models receptive-field --model=runs/mine --samples=32 --out=field.png"""


def main(argv: list[str]) -> int:
    """Run `fcnjax models receptive-field`."""
    parser = model_parser(
        "receptive-field",
        "Show which pixels the features and logits of a model are computed from (the theoretical "
        "receptive field), and measure how much they contribute (the effective one): the gradient "
        "of a logit on images of noise.",
        _EXAMPLES,
    )
    add_weights(parser)
    parser.add_argument("--out", metavar="FILE.png", help="write a picture of both fields")
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="size of the images (that of the field, up to a limit)",
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

    from fcnjax.inspection.receptive_fields import (
        draw,
        fitting_side,
        measure_field,
        print_theoretical,
        summary,
    )
    from fcnjax.inspection.summaries.weights import load

    size = parse_size(args.size) if args.size else None
    rows, columns = print_theoretical(source, size)
    if not args.samples:
        return 0
    size = size or (fitting_side(rows), fitting_side(columns))
    loaded = load(source, parse_step(args.step))
    effective = measure_field(loaded, size, args.samples)
    print(f"\n{summary(loaded, effective, rows, columns, args.samples)}")
    if args.out:
        draw(args.out, loaded, effective, rows, columns)
        print(f"\npicture in {args.out}")
    return 0
