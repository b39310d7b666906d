"""The dataset that commands of `fcnjax data` take."""

import argparse

from ml_collections import ConfigDict

from fcnjax.cli.parsers import make_parser
from fcnjax.config import load_command_config


def dataset_parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return the parser of `fcnjax data COMMAND`, with its argument `dataset`."""
    description += " --config.SECTION.KEY=VALUE changes a key."
    parser = make_parser(f"data {command}", description, f"fcnjax data {command} {example}")
    text = "a config, as --config of train; a folder means folder:root=FOLDER"
    parser.add_argument("dataset", metavar="CONFIG|FOLDER", help=text)
    return parser


def load_resolved(dataset: str, overrides: list[str], command: str) -> ConfigDict:
    """Load the config of a dataset, resolve its data, and print what was found.

    Raises:
        UserError: There is no such config or folder, or the data cannot be used.
    """
    from fcnjax.data import resolve

    config, notes = resolve(load_command_config(dataset, overrides, f"fcnjax data {command}"))
    for note in notes:
        print(note)
    return config
