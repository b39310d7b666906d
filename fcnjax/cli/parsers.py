"""Parsers and arguments that commands share."""

import argparse
import shutil
import textwrap


def make_parser(
    command: str, description: str, examples: str = "", *, usage: str | None = None
) -> argparse.ArgumentParser:
    """Return the parser of `fcnjax COMMAND`.

    Args:
        command: The command, such as `data show`.
        description: One paragraph, in lines of any length.
        examples: Examples, one a line.
        usage: The line of usage; None for that of argparse.
    """
    width = shutil.get_terminal_size().columns - 2  # as argparse
    return argparse.ArgumentParser(
        prog=f"fcnjax {command}",
        usage=usage,
        description=textwrap.fill(" ".join(description.split()), width),
        epilog=examples and f"examples:\n{textwrap.indent(examples.strip(chr(10)), '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_step(parser: argparse.ArgumentParser) -> None:
    """Add `--step`, which `fcnjax.inference.parse_step` reads."""
    parser.add_argument("--step", default="best", metavar="best|latest|N", help="checkpoint (best)")
