"""A command that is several: its help, and the picking of one, of which alone is imported."""

import importlib
from collections.abc import Mapping

from fcnjax.errors import unknown

# Subcommand: where its function is, `module` (its `main`) or `module:function`, which takes the
# arguments and returns the exit code; and its line in the help.
Table = Mapping[str, tuple[str, str]]


def usage(command: str, about: str, table: Table, ending: str) -> str:
    """The text of the command's `--help`.

    Args:
        command: As it is typed: `fcnjax data`.
        about: What it is for, a sentence.
        table: The subcommands.
        ending: The last line.
    """
    width = max(map(len, table)) + 2
    lines = [f"  {name:<{width}}{text}" for name, (_, text) in table.items()]
    head = [f"usage: {command} COMMAND [OPTIONS]", "", f"{about} Commands:", *lines]
    return "\n".join([*head, "", ending])


def run(command: str, table: Table, argv: list[str]) -> int:
    """Runs the subcommand that `argv` begins with, and returns its exit code.

    Raises:
        UserError: There is no such one.
    """
    if argv[0] not in table:
        raise unknown(f"{command} COMMAND", argv[0], table)
    module, _, function = table[argv[0]][0].partition(":")
    return getattr(importlib.import_module(module), function or "main")(argv[1:])
