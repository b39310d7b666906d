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
    """Load the config of a dataset, resolve its data, and print notes and proposed class names.

    Raises:
        UserError: There is no such config or folder, or the data cannot be used.
    """
    from rich.console import Console

    from fcnjax.data import resolve
    from fcnjax.validate.checks.suggestions import suggest_names
    from fcnjax.validate.findings import print_findings

    config = load_command_config(dataset, overrides, f"fcnjax data {command}")
    resolved, notes = resolve(config)
    for note in notes:
        print(note)
    if finding := suggest_names(config, resolved.data):
        print_findings([finding], Console(highlight=False))
    return resolved
