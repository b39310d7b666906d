"""`fcnjax data check`: tells what is wrong with a data set."""

import argparse

from rich.console import Console

from fcnjax.config import load_command_config
from fcnjax.validate.check import check
from fcnjax.validate.findings import ERROR, counted, tell
from fcnjax.validate.page import write_page
from fcnjax.validate.terminal import table


def main(argv: list[str]) -> int:
    """`fcnjax data check`: 0, or 1 where errors were found.

    Raises:
        UserError: No such config or folder, or an unknown argument.
    """
    parser = argparse.ArgumentParser(
        prog="fcnjax data check",
        description="Read every example of a data set and tell what is wrong with it, with lines "
        "for the config that mend it. --config.SECTION.KEY=VALUE changes a key. Exit code: 0, or "
        "1 where training would fail.",
        epilog="example: fcnjax data check photos/ --out=runs/data_check",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what", metavar="CONFIG|FOLDER", help="as --config of train; a folder is folder:root=FOLDER"
    )
    parser.add_argument("--out", metavar="DIR", help="where a page with pictures goes, index.html")
    args, overrides = parser.parse_known_args(argv)
    checked = check(load_command_config(args.what, overrides, "fcnjax data check"), show=True)
    console = Console(highlight=False)
    if checked.resolved:
        console.print(table(checked.tallies, checked.config.data.class_names))
    tell(checked.findings, console)
    console.print(f"{args.what}: {counted(checked.findings)}", soft_wrap=True, markup=False)
    if args.out:
        console.print(f"{write_page(args.out, args.what, checked)}", soft_wrap=True, markup=False)
    return int(any(finding.severity == ERROR for finding in checked.findings))
