"""Arguments that the commands on a dataset share."""

import argparse

from ml_collections import ConfigDict

from fcnjax.config import load_command_config
from fcnjax.data import resolve


def dataset_parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return the parser of `fcnjax data COMMAND`, with its argument `dataset`."""
    parser = argparse.ArgumentParser(
        prog=f"fcnjax data {command}",
        description=f"{description} --config.SECTION.KEY=VALUE changes a key.",
        epilog=f"example: fcnjax data {command} {example}",
        allow_abbrev=False,
    )
    parser.add_argument(
        "dataset",
        metavar="CONFIG|FOLDER",
        help="a config, as --config of train; a folder means folder:root=FOLDER",
    )
    return parser


def load_resolved(dataset: str, overrides: list[str], command: str) -> ConfigDict:
    """Load the config of a dataset, resolve its data, and print what was found.

    Raises:
        UserError: There is no such config or folder, or the data cannot be used.
    """
    config, notes = resolve(load_command_config(dataset, overrides, f"fcnjax data {command}"))
    for note in notes:
        print(note)
    return config
