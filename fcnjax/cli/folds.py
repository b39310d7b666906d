"""`fcnjax folds`: summarise the scores of a cross-validation."""

import argparse
from pathlib import Path

from fcnjax.io.atomic_files import write_json
from fcnjax.reports.folds import as_table, summarise


def main(argv: list[str]) -> int:
    """`fcnjax folds`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax folds",
        description="Print the mean and the standard deviation of the scores over the runs of a "
        "cross-validation (config.data.split.folds), each of which was trained with another "
        "config.data.split.fold; and the score of all their confusion matrices added up.",
        epilog="example: fcnjax folds runs/fold*; the ensemble of them: fcnjax predict IMAGES "
        "--workdir=runs/fold0 --workdir=runs/fold1 ... --out=DIR",
        allow_abbrev=False,
    )
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR", help="the run of a fold")
    parser.add_argument("--out", metavar="FILE", help="write the figures as JSON too")
    args = parser.parse_args(argv)
    found = summarise(args.workdirs)
    print(as_table(found))
    if args.out:
        write_json(Path(args.out), found)
    return 0
