"""Published models of other libraries, and the kinds of them."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fcnjax.errors import UserError, choose
from fcnjax.models.pretrained.model_folder import read_config_file
from fcnjax.models.pretrained.sources.torchvision import SCHEME, fetch_torchvision
from fcnjax.models.pretrained.sources.weights import check_has_config
from fcnjax.published.weights import find_weights
from fcnjax.runtime.packages import to_stderr

if TYPE_CHECKING:
    from fcnjax.published.description import Description

Log = Callable[[str], None]
# The modules and functions that describe folders, by a key that only their `config.json` has. They
# are imported on first use, since the models of fcnjax itself do not need them.
LAYOUTS: Mapping[str, tuple[str, str]] = {
    "model_type": ("fcnjax.published.transformers", "describe_transformers"),
    "_model_class": ("fcnjax.published.smp", "describe_smp"),
}


class Published(NamedTuple):
    """A published model on this machine, of which nothing is read yet.

    Attributes:
        folder: The folder of its files.
        file: The file of its weights, or the index of its shards.
        describe: Reads its config. Called with a function that receives a line about what is
            assumed; raises UserError if a file is invalid or the model is not supported.
    """

    folder: Path
    file: Path
    describe: Callable[[Log], "Description"]


def is_external(source: str | Path) -> bool:
    """Return whether a source is a model of another library: a folder, or `torchvision://`."""
    return str(source).startswith(SCHEME) or _read_layout(Path(source)) is not None


def find_published(source: str | Path) -> Published | None:
    """Find a model of another library.

    Args:
        source: A folder in the layout of transformers or segmentation_models.pytorch, or
            `torchvision://MODEL/WEIGHTS`, which is downloaded.

    Returns:
        None if it is something else.

    Raises:
        UserError: The folder has no weights, or no config, or torchvision has no such segmentation
            model.
    """
    if str(source).startswith(SCHEME):
        return _find_torchvision(str(source))
    folder = Path(source)
    if (layout := _read_layout(folder)) is None:
        if folder.is_dir():
            check_has_config((file.name for file in folder.iterdir()), str(folder))
        return None
    (module, name), content = layout

    def describe(log: Log) -> "Description":
        return getattr(importlib.import_module(module), name)(folder, content, log)

    return Published(folder, find_weights(folder), describe)


def _read_layout(folder: Path) -> tuple[tuple[str, str], Any] | None:
    """Return the row of `LAYOUTS` of a folder, and its config; None for other folders."""
    try:
        content = read_config_file(folder)
    except UserError:
        return None
    if isinstance(content, dict):
        for key, row in LAYOUTS.items():
            if isinstance(content.get(key), str):
                return row, content
    return None


def _find_torchvision(source: str) -> Published:
    from fcnjax.published.torchvision import SEGMENTERS, describe_torchvision

    name = source.removeprefix(SCHEME).partition("/")[0]
    choose(dict.fromkeys(SEGMENTERS), name, f"{SCHEME} as a segmentation model")
    file = fetch_torchvision(source, to_stderr).path
    return Published(file.parent, file, lambda log: describe_torchvision(name))
