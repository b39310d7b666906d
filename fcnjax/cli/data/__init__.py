"""`fcnjax data COMMAND`: commands on datasets."""

from fcnjax.cli import subcommands

COMMANDS = {
    "sources": ("fcnjax.cli.data.get:sources", "list the ways in which a dataset may be stored"),
    "check": ("fcnjax.cli.data.check", "find the errors of a dataset, and how to fix them"),
    "plan": ("fcnjax.cli.data.plan", "choose a config for a dataset, with reasons"),
    "show": ("fcnjax.cli.data.show", "draw augmented examples, as training sees them"),
    "agree": ("fcnjax.cli.data.agree", "score one annotator's masks against another's"),
    "build": ("fcnjax.cli.data.build", "decode a dataset once, for config.data.loading.cache=disk"),
    "list": ("fcnjax.cli.data.get:samples", "list the sample datasets that can be downloaded"),
    "fetch": ("fcnjax.cli.data.get:fetch_sample", "download a sample dataset"),
    "prepare": (
        "fcnjax.cli.data.get:prepare_tfds",
        "download a dataset for config.data.source=tfds",
    ),
}


def main(argv: list[str]) -> int:
    """Print the help of `fcnjax data`, or run one of its commands.

    Raises:
        UserError: There is no such command.
    """
    return subcommands.run("fcnjax data", "Commands on datasets, before training.", COMMANDS, argv)
