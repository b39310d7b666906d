"""`fcnjax models list`: list the encoders and decoders."""

import json
from collections.abc import Mapping, Sequence

from fcnjax.cli.parsers import make_parser
from fcnjax.errors import unknown
from fcnjax.inspection.summaries.listing import decoder_table, describe_all, print_encoders
from fcnjax.models import DECODERS, ENCODERS
from fcnjax.models.model_spec import ModelSpec


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
    args = parser.parse_args(argv)
    encoders, decoders = (_select(specs, args.names) for specs in (ENCODERS, DECODERS))
    if not encoders and not decoders:
        raise unknown("fcnjax models list", args.names[0], (*ENCODERS, *DECODERS))
    with describe_all(encoders, decoders) as (encoder_rows, decoder_rows):
        if args.json:
            described = {"encoders": list(encoder_rows), "decoders": list(decoder_rows)}
            print(json.dumps(described, indent=2))
            return 0
        if encoders:
            print_encoders(encoders, encoder_rows)
        if encoders and decoders:
            print()
        if decoders:
            print(decoder_table(decoder_rows))
    return 0


def _select(specs: Mapping[str, ModelSpec], names: Sequence[str]) -> list[str]:
    return [each for each in specs if not names or any(name in each for name in names)]
