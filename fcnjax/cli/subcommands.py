"""Commands with subcommands: their help, and dispatch that imports only one of them."""

import importlib
from collections.abc import Mapping

from fcnjax.errors import unknown

# By subcommand: its function, as `module` (for `main`) or `module:function`, which takes the
# arguments and returns the exit code; and its line in the help.
Table = Mapping[str, tuple[str, str]]


def usage(command: str, about: str, table: Table) -> str:
    """Return the text of the command's `--help`.

    Args:
        command: The command as typed: `fcnjax data`.
        about: Its purpose, in a sentence.
        table: The subcommands.
    """
    width = max(map(len, table)) + 2
    lines = [f"  {name:<{width}}{text}" for name, (_, text) in table.items()]
    header = [f"usage: {command} COMMAND [OPTIONS]", "", f"{about} Commands:", *lines]
    return "\n".join([*header, "", f"`{command} COMMAND --help` describes one."])


def run(command: str, about: str, table: Table, argv: list[str]) -> int:
    """Run the subcommand that `argv` begins with, or print the help; return the exit code.

    Raises:
        UserError: The subcommand does not exist.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(command, about, table))
        return 0
    if argv[0] not in table:
        raise unknown(f"{command} COMMAND", argv[0], table)
    module, _, function = table[argv[0]][0].partition(":")
    return getattr(importlib.import_module(module), function or "main")(argv[1:])
