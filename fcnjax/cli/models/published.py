"""`fcnjax models published`: list well-known published models."""

from fcnjax.cli.parsers import make_parser


def main(argv: list[str]) -> int:
    """Run `fcnjax models published`."""
    parser = make_parser(
        "models published",
        "List well-known published models that --model takes, with task, licence and size. Their "
        "files are downloaded when they are used.",
        "fcnjax models published\n"
        "fcnjax models published street segformer\n"
        "fcnjax models published permissive",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only models with each word in their task, dataset, architecture, name or licence; "
        "permissive, unclear and research are kinds of licences",
    )
    args = parser.parse_args(argv)

    from fcnjax.published.catalogue import select, table

    print(table(select(args.words)))
    return 0
