"""`fcnjax config`: print the keys of a config."""

from fcnjax.cli.parsers import make_parser
from fcnjax.config import reference


def main(argv: list[str]) -> int:
    """`fcnjax config`."""
    parser = make_parser(
        "config",
        "Print the sections of a config, the keys of a section, or a key in full: its "
        "meaning, its default, its valid values and when it may change.",
        "fcnjax config\nfcnjax config data.split\nfcnjax config optim.lr",
    )
    parser.add_argument("name", nargs="?", metavar="SECTION|KEY", help="as optim or optim.lr")
    parser.add_argument("--markdown", action="store_true", help="print all keys as Markdown")
    args = parser.parse_args(argv)
    if args.markdown:
        print(reference.markdown(), end="")
    else:
        print(reference.describe(args.name) if args.name else reference.sections())
    return 0
