"""`fcnjax data COMMAND`: picks the module of a command on data sets and imports only that one."""

import importlib

from fcnjax.errors import unknown

# Command: its module, its function there (`function(argv) -> exit code`), its line in the help.
COMMANDS = {
    "sources": ("fcnjax.data.get", "sources", "how a set may be stored"),
    "check": ("fcnjax.data.doctor.command", "main", "what is wrong with a set, and what mends it"),
    "show": ("fcnjax.data.show", "main", "a sheet of augmented examples, as training sees them"),
    "build": ("fcnjax.data.build", "main", "decode a set once, for config.data.cache=disk"),
    "list": ("fcnjax.data.get", "samples", "the sample sets that can be fetched"),
    "fetch": ("fcnjax.data.get", "fetch_sample", "fetch one of them"),
    "prepare": ("fcnjax.data.get", "prepare_tfds", "download a set for source=tfds"),
}


def usage() -> str:
    """The text of `fcnjax data --help`."""
    lines = [f"  {name:<10}{text}" for name, (_, _, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fcnjax data COMMAND [OPTIONS]",
            "",
            "Data sets, before they are trained on. Commands:",
            *lines,
            "",
            "`fcnjax data COMMAND --help` describes one, with examples.",
        ]
    )


def main(argv: list[str]) -> int:
    """`fcnjax data`: prints the help, or runs a command.

    Raises:
        UserError: There is no such command.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    if argv[0] not in COMMANDS:
        raise unknown("fcnjax data COMMAND", argv[0], COMMANDS)
    module, function, _ = COMMANDS[argv[0]]
    return getattr(importlib.import_module(module), function)(argv[1:])
