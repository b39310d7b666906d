"""`fcnjax models list`: list the encoders and decoders."""

import json

from fcnjax.cli.parsers import make_parser
from fcnjax.errors import unknown
from fcnjax.inspection.summaries.listing import decoder_table, encoder_table, read_models


def main(argv: list[str]) -> int:
    """Run `fcnjax models list`."""
    parser = make_parser(
        "models list",
        "List the encoders and decoders: parameters, multiply-adds, receptive field, "
        "strides, channels, weights and options.",
        "fcnjax models list\n"
        "fcnjax models list resnet mobilenet\n"
        "fcnjax models list --json > models.json",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only names that contain this")
    parser.add_argument("--json", action="store_true", help="as JSON, for other programs")
    names = (args := parser.parse_args(argv)).names
    models = read_models()
    encoders, decoders = (
        [row for row in rows if not names or any(name in row["name"] for name in names)]
        for rows in models
    )
    if not encoders and not decoders:
        valid = [row["name"] for rows in models for row in rows]
        raise unknown("fcnjax models list", names[0], valid)
    if args.json:
        print(json.dumps({"encoders": encoders, "decoders": decoders}, indent=2))
        return 0
    tables = [encoder_table(encoders)] * bool(encoders) + [decoder_table(decoders)] * bool(decoders)
    print("\n\n".join(tables))
    return 0
