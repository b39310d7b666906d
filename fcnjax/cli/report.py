"""`fcnjax report`: compare runs."""

from pathlib import Path

from fcnjax.cli.parsers import make_parser
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import write_text
from fcnjax.reports.comparison import as_page, as_table, differences_to_first, read_runs


def main(argv: list[str]) -> int:
    """Run `fcnjax report`."""
    parser = make_parser(
        "report",
        "Compare runs: print their scores, the differences to the first run with "
        "confidence intervals (if all were scored on the same images), and the settings in which "
        "they differ. --out writes a page with these, predictions of the same held-out images side "
        "by side, the learning curves and the scores of each class. The page of one run is the "
        "report.html that train and evaluate write in its workdir.",
        "fcnjax report runs/unet runs/deeplab --out=comparison.html",
    )
    parser.add_argument("workdirs", nargs="+", metavar="RUN", help="a workdir with metrics.json")
    parser.add_argument("--out", metavar="FILE.html", help="also write a page")
    args = parser.parse_args(argv)
    if args.out is not None and not args.out.endswith(".html"):
        raise UserError(f"--out: {args.out!r} does not end in .html")
    runs = read_runs(args.workdirs)
    differences = differences_to_first(runs)
    print(as_table(runs, differences))
    if args.out is not None:
        write_text(Path(args.out), as_page(runs, differences))
        print(args.out)
    return 0
