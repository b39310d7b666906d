"""`fcnjax models COMMAND`: picks the module of a view of the models and imports only that one."""

import importlib

from fcnjax.errors import unknown

# Command: its module (with a `main(argv) -> exit code`) and its line in the help.
COMMANDS = {
    "list": ("fcnjax.inspect.listing", "encoders and decoders: size, reach, weights"),
    "show": ("fcnjax.inspect.show", "a config's model, layer by layer"),
    "receptive-field": (
        "fcnjax.inspect.field",
        "what of an image a prediction is computed from, and what counts",
    ),
    "features": ("fcnjax.inspect.features", "what an encoder responds to in an image"),
    "parity": ("fcnjax.models.pretrained.parity", "our models against what torch models printed"),
}


def usage() -> str:
    """The text of `fcnjax models --help`."""
    lines = [f"  {name:<17}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fcnjax models COMMAND [OPTIONS]",
            "",
            "What models there are, and what they do. Commands:",
            *lines,
            "",
            "`fcnjax models COMMAND --help` describes one, with examples.",
        ]
    )


def main(argv: list[str]) -> int:
    """`fcnjax models`: prints the help, or runs a command.

    Raises:
        UserError: There is no such command.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    if argv[0] not in COMMANDS:
        raise unknown("fcnjax models COMMAND", argv[0], COMMANDS)
    return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])
