"""`fcnjax models features`: draw what the channels of an encoder respond to in an image."""

from pathlib import Path

from fcnjax.cli.models.arguments import add_weights, check_png, model_parser, parse_arguments
from fcnjax.cli.parsers import parse_step
from fcnjax.errors import UserError

_EXAMPLES = """
fcnjax models features --model=runs/mine photo.jpg --out=features.png
fcnjax models features folder:encoder=resnet34 photo.jpg --out=features.png \\
    --config.model.init_from=resnet34.pth"""


def main(argv: list[str]) -> int:
    """Run `fcnjax models features`."""
    parser = model_parser(
        "features",
        "Show, for each stride of a model's encoder, the channels that respond most to an image: "
        "shallow ones to edges and textures, deep ones to parts.",
        _EXAMPLES,
    )
    add_weights(parser)
    parser.add_argument("--out", metavar="FILE.png", help="a picture of the channels")
    parser.add_argument(
        "--channels", type=int, default=8, metavar="N", help="channels of each stride (8)"
    )
    parser.add_argument(
        "--longest",
        type=int,
        default=512,
        metavar="N",
        help="the image is shrunk to this many pixels along its longer side (512)",
    )
    args, source = parse_arguments(parser, argv, names=("IMAGE",))
    check_png(args.out)
    for key in ("channels", "longest"):
        if getattr(args, key) < 1:
            raise UserError(f"--{key}: {getattr(args, key)} is below 1")

    from fcnjax.data.pixel_type import as_pixel_type
    from fcnjax.data.readers.decode import read_image
    from fcnjax.inspection.summaries.features import draw, respond, shrink, summarise
    from fcnjax.inspection.summaries.weights import load

    data = source.config.data
    (path,) = args.words
    pixels = read_image(path, data.channels, data.pages)
    image = shrink(as_pixel_type(pixels, data.pixel_type, path), args.longest)
    loaded = load(source, parse_step(args.step))
    levels = respond(loaded, image, args.channels)
    print(summarise(loaded, levels, image))
    if args.out:
        draw(args.out, loaded, levels, image, Path(path).name)
        print(f"\npicture in {args.out}")
    return 0
