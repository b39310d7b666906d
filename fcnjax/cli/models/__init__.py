"""`fcnjax models COMMAND`: inspection of models."""

from fcnjax.cli import subcommands

COMMANDS = {
    "list": (
        "fcnjax.cli.models.list",
        "list encoders and decoders, with sizes and weights",
    ),
    "published": (
        "fcnjax.cli.models.published",
        "list well-known published models, with task and licence",
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
    """Print the help of `fcnjax models`, or run one of its commands.

    Raises:
        UserError: There is no such command.
    """
    return subcommands.run("fcnjax models", "Inspect models.", COMMANDS, argv)
