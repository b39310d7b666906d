"""`fcnjax data COMMAND`: commands on data sets."""

from fcnjax.cli import subcommands

COMMANDS = {
    "sources": ("fcnjax.cli.data.get:sources", "how a set may be stored"),
    "check": ("fcnjax.cli.data.check", "what is wrong with a set, and what mends it"),
    "show": ("fcnjax.cli.data.show", "a sheet of augmented examples, as training sees them"),
    "agree": (
        "fcnjax.cli.data.agree",
        "score one annotator's masks against another's",
    ),
    "build": ("fcnjax.cli.data.build", "decode a set once, for config.data.loading.cache=disk"),
    "list": ("fcnjax.cli.data.get:samples", "the sample sets that can be fetched"),
    "fetch": ("fcnjax.cli.data.get:fetch_sample", "fetch one of them"),
    "prepare": ("fcnjax.cli.data.get:prepare_tfds", "download a set for config.data.source=tfds"),
}


def main(argv: list[str]) -> int:
    """`fcnjax data`: prints the help, or runs a command.

    Raises:
        UserError: There is no such command.
    """
    if not argv or argv[0] in ("-h", "--help"):
        about = "Data sets, before they are trained on."
        ending = "`fcnjax data COMMAND --help` describes one."
        print(subcommands.usage("fcnjax data", about, COMMANDS, ending))
        return 0
    return subcommands.run("fcnjax data", COMMANDS, argv)
