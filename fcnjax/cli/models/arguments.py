"""Arguments that the commands of `fcnjax models` share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fcnjax.cli import parsers
from fcnjax.errors import UserError

if TYPE_CHECKING:
    from fcnjax.inspection.summaries.model_source import ModelSource


def model_parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return the parser of a command that takes a config."""
    parser = parsers.make_parser(f"models {name}", description, examples)
    parser.add_argument(
        "--config",
        metavar="SPEC",
        help="like CONFIG; --config.section.key=value changes a key of it",
    )
    return parser


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the weights of a model."""
    parsers.add_model(parser, text=f"weights and config of a {parsers.MODEL_HELP}")
    parsers.add_step(parser)


def parse_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str], names: Sequence[str] = ()
) -> "tuple[argparse.Namespace, ModelSource]":
    """Parse a command line `[CONFIG] WORD... [OPTION...]`; `args.words` are those after CONFIG.

    Args:
        parser: The parser from `model_parser`.
        argv: The words of the command line.
        names: Names of the words that must follow the config.

    Raises:
        UserError: No config is given, it does not exist, or a change to it is invalid.
    """
    shown = " ".join(["[CONFIG]", *names])
    about = "the path of a config or the name of a shipped one, with its :ARG"
    parser.add_argument("words", nargs="*", metavar=shown, help=about)
    parser.usage = f"{parser.prog} {shown} [OPTION...]"
    changes = [word for word in argv if word.startswith("--config.")]
    # Intermixed, since options before CONFIG would hide it otherwise.
    args = parser.parse_intermixed_args([word for word in argv if word not in changes])
    if len(args.words) > len(names):
        if args.config is not None:
            parser.error(f"{args.words[0]}: the config is given twice; --config={args.config}")
        args.config = args.words.pop(0)
    if len(args.words) > len(names):
        parser.error(f"unrecognized arguments: {' '.join(args.words[len(names) :])}")
    if len(args.words) < len(names):
        parser.error(f"{names[len(args.words)]} is missing")

    from fcnjax.inspection.summaries.model_source import find_source

    source = find_source(parser.prog, args.config, changes, getattr(args, "model", None))
    return args, source


def parse_size(text: str) -> tuple[int, int]:
    """Parse the height and width of `--size`: `512x640`, or `512` for a square.

    Raises:
        UserError: The text is not a size.
    """
    sides = text.split("x")
    if not all(side.isdigit() and int(side) > 0 for side in sides) or len(sides) > 2:
        raise UserError(f"--size: {text!r} is not a height and width such as 512x640")
    return int(sides[0]), int(sides[-1])


def check_png(path: str | None) -> None:
    """Raise UserError if `--out` is given and does not end in .png."""
    if path and Path(path).suffix.lower() != ".png":
        raise UserError(f"--out: {path} is not the name of a .png file")
