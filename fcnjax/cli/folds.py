"""`fcnjax folds`: summarise the scores of a cross-validation."""

from pathlib import Path

from fcnjax.cli.parsers import make_parser
from fcnjax.io.atomic_files import write_json


def main(argv: list[str]) -> int:
    """Run `fcnjax folds`."""
    parser = make_parser(
        "folds",
        "Print the mean and standard deviation of the scores over the runs of a "
        "cross-validation (config.data.split.folds), each trained with another "
        "config.data.split.fold, and the scores of the sum of their confusion matrices. "
        "`fcnjax predict` with all their workdirs predicts with the ensemble.",
        "fcnjax folds runs/fold*\n"
        "fcnjax predict IMAGES --model=runs/fold0 --model=runs/fold1 ... --out=DIR",
    )
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR", help="the run of a fold")
    parser.add_argument("--out", metavar="FILE", help="also write the scores as JSON")
    args = parser.parse_args(argv)

    from fcnjax.reports.folds import as_table, summarise

    summary = summarise(args.workdirs)
    print(as_table(summary))
    if args.out:
        write_json(Path(args.out), summary)
    return 0
