"""Checks of `config.data` that involve two keys or the file system."""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.config import channel_names, check_section, check_value
from fcnjax.errors import UserError

# Keys with the name of a file or folder in the root, or a part of one.
_PATHS = ("root", "images", "masks", "annotations", "mask_suffix", "split.train", "split.eval")


def check_settings(config: ConfigDict) -> None:
    """Raise UserError if a value of `config.data` or a seed is not valid; name the key."""
    data = config.data
    check_section(data, "data")
    check_value("train.seed", config.train.seed)
    for key in _PATHS:
        _check_path(data, key)
    channel_names(data.channels)
    if data.loading.cache == "host" and data.loading.workers:
        raise UserError(
            "config.data.loading.cache: host keeps the dataset in the memory of one process, and "
            "needs config.data.loading.workers=0 (disk works with any number)"
        )
    crops = (data.sampling.class_crop, data.sampling.foreground_crop)
    if sum(crops) > 1:
        raise UserError(
            f"config.data.sampling.class_crop and .foreground_crop: {crops[0]} and {crops[1]} are "
            "not probabilities that sum to at most 1"
        )


def check_normalisation(data: ConfigDict) -> None:
    """Raise UserError if `config.data.mean` and `.std` do not match the channels."""
    channels = channel_names(data.channels)
    if not len(data.mean) == len(data.std) == len(channels):
        raise UserError(
            f"config.data.mean and config.data.std: need one value for each of the "
            f"{len(channels)} channels {data.channels}"
        )
    if not all(data.std):
        raise UserError(f"config.data.std: {data.std} has a 0")


def _check_path(data: ConfigDict, key: str) -> None:
    """Raise UserError for a name that is too long, or in a folder without permission."""
    try:
        # For all other names `is_dir` returns False if there is no such folder.
        Path(data.root or ".", data[key]).is_dir()
    except OSError as error:
        raise UserError(f"config.data.{key}: {data[key]!r}: {error.strerror}") from error
