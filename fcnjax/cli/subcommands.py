"""Commands with subcommands: their help, and dispatch that imports only one of them."""

import importlib
from collections.abc import Mapping

from fcnjax.errors import unknown

# By subcommand: its function, as `module` (for `main`) or `module:function`, which takes the
# arguments and returns the exit code; and its line in the help.
Table = Mapping[str, tuple[str, str]]


def usage(command: str, about: str, table: Table, ending: str) -> str:
    """Return the text of the command's `--help`.

    Args:
        command: The command as typed: `fcnjax data`.
        about: Its purpose, in a sentence.
        table: The subcommands.
        ending: The last line.
    """
    width = max(map(len, table)) + 2
    lines = [f"  {name:<{width}}{text}" for name, (_, text) in table.items()]
    header = [f"usage: {command} COMMAND [OPTIONS]", "", f"{about} Commands:", *lines]
    return "\n".join([*header, "", ending])


def run(command: str, table: Table, argv: list[str]) -> int:
    """Run the subcommand that `argv` begins with, and return its exit code.

    Raises:
        UserError: The subcommand does not exist.
    """
    if argv[0] not in table:
        raise unknown(f"{command} COMMAND", argv[0], table)
    module, _, function = table[argv[0]][0].partition(":")
    return getattr(importlib.import_module(module), function or "main")(argv[1:])
