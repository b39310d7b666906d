"""`fcnjax folds`: summarise the scores of a cross-validation."""

import argparse
from pathlib import Path

from fcnjax.io.atomic_files import write_json
from fcnjax.reports.folds import as_table, summarise


def main(argv: list[str]) -> int:
    """Run `fcnjax folds`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax folds",
        description="Print the mean and standard deviation of the scores over the runs of a "
        "cross-validation (config.data.split.folds), each trained with another "
        "config.data.split.fold, and the scores of the sum of their confusion matrices.",
        epilog="example: fcnjax folds runs/fold*; to predict with their ensemble: fcnjax predict "
        "IMAGES --workdir=runs/fold0 --workdir=runs/fold1 ... --out=DIR",
        allow_abbrev=False,
    )
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR", help="the run of a fold")
    parser.add_argument("--out", metavar="FILE", help="also write the scores as JSON")
    args = parser.parse_args(argv)
    summary = summarise(args.workdirs)
    print(as_table(summary))
    if args.out:
        write_json(Path(args.out), summary)
    return 0
