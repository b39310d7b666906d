"""`fcnjax models show`: print a model layer by layer."""

from fcnjax.errors import UserError
from fcnjax.inspection.summaries.show import _header, layer_table
from fcnjax.inspection.summaries.source import make_parser, parse, parse_size
from fcnjax.inspection.tracing.program import trace
from fcnjax.models import Segmenter, build_model

_EXAMPLES = """\
  fcnjax models show folder
  fcnjax models show folder:encoder=resnet34 --config.model.skip=add --depth=3
  fcnjax models show --config=configs/biomedical_stare.py --size=605x700
"""


def main(argv: list[str]) -> int:
    """`fcnjax models show`."""
    parser = make_parser(
        "show",
        "Shows the layers of a config's model: the shapes that they give, their parameters and "
        "their multiply-adds.",
        _EXAMPLES,
    )
    parser.add_argument(
        "--size", default="512x512", metavar="HxW", help="of the image (512x512), in pixels"
    )
    parser.add_argument(
        "--depth", type=int, default=2, metavar="N", help="levels of modules that are shown (2)"
    )
    args, source = parse(parser, argv)
    if args.depth < 0:
        raise UserError(f"--depth: {args.depth} is below 0")
    height, width = parse_size(args.size)
    model = build_model(source.config)
    program = trace(model, Segmenter.__call__, (1, height, width, model.in_channels))
    print(f"{_header(model, source, program, (height, width))}\n")
    print(layer_table(program, args.depth))
    return 0
