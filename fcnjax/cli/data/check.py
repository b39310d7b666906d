"""`fcnjax data check`: tells what is wrong with a data set."""

import argparse

from rich.console import Console

from fcnjax.config import load_given
from fcnjax.validate.check import check
from fcnjax.validate.findings import ERROR, count_by_severity, print_findings
from fcnjax.validate.page import write_page
from fcnjax.validate.terminal import class_table


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
    result = check(load_given(args.what, overrides, "fcnjax data check"), show_progress=True)
    console = Console(highlight=False)
    if result.is_resolved:
        console.print(class_table(result.statistics, result.config.data.class_names))
    print_findings(result.findings, console)
    summary = count_by_severity(result.findings)
    console.print(f"{args.what}: {summary}", soft_wrap=True, markup=False)
    if args.out:
        console.print(f"{write_page(args.out, args.what, result)}", soft_wrap=True, markup=False)
    return int(any(finding.severity == ERROR for finding in result.findings))
