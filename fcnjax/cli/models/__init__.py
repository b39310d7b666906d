"""`fcnjax models COMMAND`: inspection of models."""

from fcnjax.cli import subcommands

COMMANDS = {
    "list": (
        "fcnjax.cli.models.list",
        "list encoders and decoders, with sizes and weights",
    ),
    "show": ("fcnjax.cli.models.show", "show the layers of a config's model"),
    "receptive-field": (
        "fcnjax.cli.models.receptive_field",
        "compute and measure the receptive field of a logit",
    ),
    "features": ("fcnjax.cli.models.features", "show what an encoder responds to in an image"),
    "parity": ("fcnjax.cli.models.parity", "compare models with reference outputs of torch models"),
}


def main(argv: list[str]) -> int:
    """Run `fcnjax models`: print the help, or run a command.

    Raises:
        UserError: The command does not exist.
    """
    if not argv or argv[0] in ("-h", "--help"):
        about = "Inspect models."
        ending = "`fcnjax models COMMAND --help` describes one, with examples."
        print(subcommands.usage("fcnjax models", about, COMMANDS, ending))
        return 0
    return subcommands.run("fcnjax models", COMMANDS, argv)
