"""The tensors of a published model, in one file or several."""

from pathlib import Path
from typing import Any

from fcnjax.errors import UserError, join_names
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources.hub import INDEX_SUFFIX
from fcnjax.models.pretrained.sources.weights import WEIGHT_FILES, Weights, shard_names


def find_weights(folder: str | Path) -> Path:
    """Return the file of the weights, or the index of its shards.

    Raises:
        UserError: The folder has none.
    """
    for name in (*WEIGHT_FILES, *(f"{name}{INDEX_SUFFIX}" for name in WEIGHT_FILES)):
        if (path := Path(folder) / name).is_file():
            return path
    raise UserError(f"{folder}: has no weights; valid: {', '.join(WEIGHT_FILES)}, or its shards")


def read_published_tensors(file: Path) -> dict[str, Any]:
    """Return the tensors of a file, or of the shards that an index names.

    Raises:
        UserError: A file is missing or damaged.
    """
    shards = shard_names(file) if file.name.endswith(INDEX_SUFFIX) else [file.name]
    if missing := [name for name in shards if not (file.parent / name).is_file()]:
        raise UserError(f"{file}: {len(missing)} files are missing: {join_names(missing)}")
    tensors: dict[str, Any] = {}
    for name in shards:
        tensors |= read_tensors(Weights(name, file.parent / name))
    return tensors
