"""`fcnjax models COMMAND`: views of the models."""

from fcnjax.cli import subcommands

COMMANDS = {
    "list": ("fcnjax.cli.models.list", "encoders and decoders: size, reach, weights"),
    "show": ("fcnjax.cli.models.show", "a config's model, layer by layer"),
    "receptive-field": (
        "fcnjax.cli.models.receptive_field",
        "what of an image a prediction is computed from, and what counts",
    ),
    "features": ("fcnjax.cli.models.features", "what an encoder responds to in an image"),
    "parity": ("fcnjax.cli.models.parity", "our models against what torch models printed"),
}


def main(argv: list[str]) -> int:
    """`fcnjax models`: prints the help, or runs a command.

    Raises:
        UserError: There is no such command.
    """
    if not argv or argv[0] in ("-h", "--help"):
        about = "What models there are, and what they do."
        ending = "`fcnjax models COMMAND --help` describes one, with examples."
        print(subcommands.usage("fcnjax models", about, COMMANDS, ending))
        return 0
    return subcommands.run("fcnjax models", COMMANDS, argv)
