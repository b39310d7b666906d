"""Pairs of classes that swap when an image is flipped: left and right eyes, halves of a brain."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from fcnjax.errors import UserError, unknown


def check_flip_pairs(data: ConfigDict) -> None:
    """Raise UserError if `config.data.labels.mirror_pairs` names an unknown class, or one twice."""
    key = "config.data.labels.mirror_pairs"
    paired = set()
    for name in (name for pair in data.labels.mirror_pairs for name in pair):
        if name not in data.class_names:
            raise unknown(key, name, data.class_names)
        if name in paired:
            raise UserError(f"{key}: {name!r} is there twice; a class can be in one pair only")
        paired.add(name)


def rename_flip_pairs(
    pairs: tuple[tuple[str, str], ...], new_names: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return the pairs after classes were renamed, merged or (by the name "") ignored."""
    renamed = (tuple(new_names.get(name, name) for name in pair) for pair in pairs)
    # A pair whose classes were merged, or of which one is ignored, has nothing to swap.
    valid = (pair for pair in renamed if all(pair) and pair[0] != pair[1])
    return tuple(dict.fromkeys(valid))


def flip_permutation(data: ConfigDict) -> np.ndarray | None:
    """Return the class id in a flipped image of each class id, int32 `[classes]`.

    The permutation is its own inverse. None if there are no pairs.
    """
    if not data.labels.mirror_pairs:
        return None
    names = list(data.class_names)
    ids = np.arange(len(names), dtype=np.int32)
    for one, other in data.labels.mirror_pairs:
        ids[names.index(one)], ids[names.index(other)] = names.index(other), names.index(one)
    return ids
