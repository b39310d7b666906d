"""`fcnjax data`: the sample sets."""

import argparse

from fcnjax.data.samples import SAMPLES, fetch, sample_folder


def main(argv: list[str]) -> int:
    """`fcnjax data`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax data",
        description="List the sample sets, or fetch one into the cache folder.",
        epilog="example: fcnjax data fetch stare",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|fetch")
    commands.add_parser("list", help="what there is, its licence and size")
    fetching = commands.add_parser("fetch", help="fetch one; prints its folder")
    fetching.add_argument("name", help=f"one of: {', '.join(sorted(SAMPLES))}")
    args = parser.parse_args(argv)
    if args.command == "fetch":
        print(fetch(args.name))
        return 0
    for name, sample in SAMPLES.items():
        state = sample_folder(name) if sample_folder(name).is_dir() else "not fetched"
        print(f"{name}: {sample.summary}\n    {sample.megabytes} MB; {sample.licence}; {state}")
    return 0
