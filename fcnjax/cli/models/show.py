"""`fcnjax models show`: print a model layer by layer."""

from fcnjax.cli.models.arguments import model_parser, parse_arguments, parse_size
from fcnjax.cli.parsers import MODEL_HELP, add_model
from fcnjax.errors import UserError

_EXAMPLES = """
fcnjax models show folder
fcnjax models show --model=runs/mine
fcnjax models show folder:encoder=resnet34 --config.model.skip=add --depth=3
fcnjax models show --config=configs/biomedical_stare.py --size=605x700"""


def main(argv: list[str]) -> int:
    """Run `fcnjax models show`."""
    parser = model_parser(
        "show",
        "Show the layers of a model: output shapes, parameters and multiply-adds.",
        _EXAMPLES,
    )
    parser.add_argument(
        "--size", default="512x512", metavar="HxW", help="size of the image in pixels (512x512)"
    )
    parser.add_argument(
        "--depth", type=int, default=2, metavar="N", help="levels of modules to show (2)"
    )
    add_model(parser, text=f"the model of a {MODEL_HELP}")
    args, source = parse_arguments(parser, argv)
    if args.depth < 0:
        raise UserError(f"--depth: {args.depth} is below 0")
    height, width = parse_size(args.size)

    from fcnjax.inspection.summaries.sizes import layer_table, model_header
    from fcnjax.inspection.tracing.program import trace
    from fcnjax.models import Segmenter, build_model

    model = build_model(source.config)
    program = trace(model, Segmenter.__call__, (1, height, width, model.in_channels))
    print(f"{model_header(model, source, program, (height, width))}\n")
    print(layer_table(program, args.depth))
    return 0
