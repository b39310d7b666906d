"""`fcnjax report`: compare runs."""

import argparse
from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_text
from fcnjax.reports.comparison import against_first, as_page, as_table, read_runs


def main(argv: list[str]) -> int:
    """`fcnjax report`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax report",
        description="Compare runs: print their scores, how sure the differences to the first are "
        "(where all were scored on the same images), and the settings in which they differ; and "
        "write a page with these, the learning curves and the scores of each class. The page of "
        "one run is the report.html that train and evaluate write in its workdir.",
        epilog="example: fcnjax report runs/unet runs/deeplab --out=comparison.html",
        allow_abbrev=False,
    )
    parser.add_argument("workdirs", nargs="+", metavar="RUN", help="a workdir with metrics.json")
    parser.add_argument("--out", metavar="FILE.html", help="write the page there")
    args = parser.parse_args(argv)
    if args.out is not None and not args.out.endswith(".html"):
        raise UserError(f"--out: {args.out!r} does not end in .html")
    runs = read_runs(args.workdirs)
    found = against_first(runs)
    print(as_table(runs, found))
    if args.out is not None:
        write_text(Path(args.out), as_page(runs, found))
        print(args.out)
    return 0
