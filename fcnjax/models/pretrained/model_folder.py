"""Recognising model folders: workdirs, and what `fcnjax publish` and `export` write."""

from pathlib import Path
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.json_files import read_json

CONFIG_FILE = "config.json"
LARGEST_CONFIG = 4 * 2**20  # bytes


def is_saved_config(content: Any) -> bool:
    """Return whether the content of a JSON file is a config that `save_config` wrote."""
    return isinstance(content, dict) and {"format_version", "fcnjax_version"} <= content.keys()


def is_model_folder(folder: str | Path) -> bool:
    """Return whether a folder is a workdir, or a model that `fcnjax publish` wrote."""
    path = Path(folder) / CONFIG_FILE
    try:
        return path.is_file() and is_saved_config(read_config_file(folder))
    except UserError:
        return False


def read_config_file(folder: str | Path) -> Any:
    """Read the `config.json` of a folder.

    Raises:
        UserError: It is missing, damaged or too large.
    """
    return read_json(Path(folder) / CONFIG_FILE, LARGEST_CONFIG)
