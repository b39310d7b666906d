"""`fcnjax config`: print the keys of a config."""

import argparse

from fcnjax.config import reference


def main(argv: list[str]) -> int:
    """`fcnjax config`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax config",
        description="Print the sections of a config, the keys of a section, or a key in full: its "
        "meaning, its default, its valid values and when it may change.",
        epilog="examples: fcnjax config; fcnjax config data.split; fcnjax config optim.lr",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="SECTION|KEY", help="as optim or optim.lr")
    parser.add_argument("--markdown", action="store_true", help="print all keys as Markdown")
    args = parser.parse_args(argv)
    if args.markdown:
        print(reference.markdown(), end="")
    else:
        print(reference.describe(args.name) if args.name else reference.sections())
    return 0
