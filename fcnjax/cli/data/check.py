"""`fcnjax data check`: find the errors of a dataset."""

from fcnjax.cli.data.arguments import dataset_parser
from fcnjax.config import load_command_config


def main(argv: list[str]) -> int:
    """Run `fcnjax data check`; return 0, or 1 if errors were found.

    Raises:
        UserError: There is no such config or folder, or an argument is unknown.
    """
    parser = dataset_parser(
        "check",
        "Read every example of a dataset and report its errors, with the lines of config that fix "
        "them. Exit code: 0, or 1 if training would fail.",
        "photos/ --out=runs/data_check",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for a page with pictures, index.html")
    args, overrides = parser.parse_known_args(argv)

    from rich.console import Console

    from fcnjax.validate.check import check
    from fcnjax.validate.findings import ERROR, count_by_severity, print_findings
    from fcnjax.validate.report import class_table, write_page

    dataset = args.dataset
    result = check(load_command_config(dataset, overrides, "fcnjax data check"), show_progress=True)
    console = Console(highlight=False)
    if result.is_resolved:
        console.print(class_table(result.statistics, result.config.data.class_names))
    print_findings(result.findings, console)
    summary = count_by_severity(result.findings)
    console.print(f"{dataset}: {summary}", soft_wrap=True, markup=False)
    if args.out:
        console.print(f"{write_page(args.out, dataset, result)}", soft_wrap=True, markup=False)
    return int(any(finding.severity == ERROR for finding in result.findings))
