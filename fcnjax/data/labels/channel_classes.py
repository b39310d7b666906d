"""Detection of the classes of masks with a channel for each class."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.class_names import BACKGROUND
from fcnjax.data.labels.mask_files import read_onehot
from fcnjax.data.labels.mask_set import MaskSet
from fcnjax.data.labels.masks import active_channel, describe_unset
from fcnjax.errors import UserError

MAX_UNSET_SHARE = 0.01  # share of pixels in no channel, from which the config has to decide


def find_channels(data: ConfigDict, masks: MaskSet) -> str:
    """Fill in stored values and names; pixels in no channel have the number of channels as value.

    Returns:
        A note on what was found, as the end of a line.

    Raises:
        UserError: Many pixels are in no channel, and the config does not decide about them; or the
            masks differ in their number of channels.
    """
    if data.labels.mask_values:
        _name_classes(data, read_onehot(masks.files[0], masks.size(masks.files[0])).shape[-1])
        return ""
    count, shares = _unset_shares(masks)
    share = float(np.mean(list(shares.values())))
    note = f"; masks hold {count} channels: a class each"
    if len(data.class_names) == count + 1 and data.class_names[0].casefold() == BACKGROUND:
        data.labels.mask_values = (count, *range(count))
        note += f", and {share:.2%} of the pixels in none of them: {data.class_names[0]}"
    else:
        if count not in data.labels.ignore_values and share >= MAX_UNSET_SHARE:
            path = max(shares, key=shares.__getitem__)
            raise UserError(f"{path}: {describe_unset(shares[path], count)}")
        data.labels.mask_values = tuple(range(count))
        if count not in data.labels.ignore_values:
            data.labels.ignore_values = (*data.labels.ignore_values, count)
        if share:
            note += f"; {share:.2%} of the pixels, in none of them, are ignored"
    _name_classes(data, count)
    return note


def _unset_shares(masks: MaskSet) -> tuple[int, dict[Path, float]]:
    """Return the number of channels, and each mask's share of pixels in none of them."""
    shares, first = {}, None
    for path in masks.sample().files:
        channels = read_onehot(path, masks.size(path))
        count = channels.shape[-1]
        first = first or (path, count)
        if count != first[1]:
            raise UserError(f"{path}: has {count} channels, and {first[0]} has {first[1]}")
        shares[path] = float((active_channel(channels, path) == count).mean())
    return first[1], shares


def _name_classes(data: ConfigDict, count: int) -> None:
    if not data.class_names:
        data.class_names = tuple(
            BACKGROUND if value == count else f"class_{i}"
            for i, value in enumerate(data.labels.mask_values)
        )
