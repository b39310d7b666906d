"""`fcnjax data show`: draw augmented examples, as the training step sees them."""

from fcnjax.cli.data.arguments import dataset_parser, load_resolved
from fcnjax.errors import UserError


def main(argv: list[str]) -> int:
    """Run `fcnjax data show`.

    Raises:
        UserError: There is no such config or folder, or the data cannot be used.
    """
    parser = dataset_parser(
        "show",
        "Draw training examples after augmentation: image, label and overlay of each, with a "
        "legend. The overlay leaves the background clear. Augmentation that a training would plan "
        "is planned here, too.",
        "biomedical_stare --out=sheet.png --config.augment.elastic=8",
    )
    parser.add_argument("--out", required=True, metavar="FILE.png", help="the image to write")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="examples (default: 12)")
    args, overrides = parser.parse_known_args(argv)
    if not args.out.endswith(".png"):
        raise UserError(f"--out: {args.out!r} does not end in .png")
    if args.count < 1:
        raise UserError(f"--count: {args.count} is below 1")
    # Imported here, so that --help loads no JAX.
    from fcnjax.augment import check_augment
    from fcnjax.data.settings import check_normalisation
    from fcnjax.inspection.example_sheet import augment_first_examples, draw_sheet
    from fcnjax.planner import apply_plan, describe_choice

    config = load_resolved(args.dataset, overrides, "show")
    config, choices = apply_plan(config, ("data", "augment"))
    for choice in choices:
        print(describe_choice(choice))
    check_normalisation(config.data)
    check_augment(config.augment)
    images, labels = augment_first_examples(config, args.count)
    draw_sheet(images, labels, config).save(args.out)
    print(f"{args.count} examples in {args.out}")
    return 0
