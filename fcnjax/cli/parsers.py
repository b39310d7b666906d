"""Parsers and arguments that commands share.

The modules of commands import their implementation when it runs, after the arguments are parsed, so
that `--help` and errors of arguments do not wait for JAX.
"""

import argparse
import shutil
import textwrap

from fcnjax.errors import UserError

JOIN_TIMEOUT_S = 300


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


MODEL_HELP = "workdir, published model or hf://OWNER/REPO (docs/published.md)"


class _Renamed(argparse.Action):
    """An argument whose name is another one now."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        raise UserError(f"{self.option_strings[0]}: is --{self.dest} now; see {parser.prog} --help")


def add_model(
    parser: argparse.ArgumentParser,
    *,
    several: bool = False,
    required: bool = False,
    text: str = MODEL_HELP,
) -> None:
    """Add `--model`, once or several times."""
    parser.add_argument(
        "--model",
        required=required,
        metavar="MODEL",
        action="append" if several else "store",
        help=f"{text}; repeat it for an ensemble" if several else text,
    )
    parser.add_argument("--workdir", action=_Renamed, dest="model", help=argparse.SUPPRESS)


def add_step(parser: argparse.ArgumentParser) -> None:
    """Add `--step`, which `parse_step` reads."""
    parser.add_argument("--step", default="best", metavar="best|latest|N", help="checkpoint (best)")


def add_resize(parser: argparse.ArgumentParser) -> None:
    """Add `--resize`, as `fcnjax.load` takes it."""
    parser.add_argument(
        "--resize",
        metavar="SIZE",
        help="size the model sees: original, native, 512 or 512x640",
    )


def parse_step(text: str) -> str | int:
    """Parse `--step`: `best`, `latest` or a number.

    Raises:
        UserError: The text is none of these.
    """
    if text in ("best", "latest"):
        return text
    if not text.isdigit():
        raise UserError(f"--step: {text!r} is not best, latest or a step")
    return int(text)


def add_host_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--coordinator`, `--processes`, `--process` and `--join-timeout`.

    `fcnjax.parallel.processes.distributed_context` reads them.
    """
    group = parser.add_argument_group(
        "several processes",
        "Each process runs the same command. Under srun and mpirun and on a Cloud TPU they find "
        "each other; otherwise give these options, or set FCNJAX_COORDINATOR, FCNJAX_PROCESSES and "
        "FCNJAX_PROCESS.",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    group.add_argument("--processes", metavar="N", help="number of processes")
    group.add_argument("--process", metavar="I", help="index of this process, from 0")
    group.add_argument(
        "--join-timeout",
        metavar="SECONDS",
        default=str(JOIN_TIMEOUT_S),
        help=f"how long to wait for the others at the start ({JOIN_TIMEOUT_S})",
    )
