"""Classes that change places where an image is mirrored: left and right eyes, halves of a brain."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from fcnjax.errors import UserError, unknown


def check_mirror_pairs(data: ConfigDict) -> None:
    """Raises UserError where `config.data.labels.mirror_pairs` names no class, or one twice."""
    key = "config.data.labels.mirror_pairs"
    seen = set()
    for name in (name for pair in data.labels.mirror_pairs for name in pair):
        if name not in data.class_names:
            raise unknown(key, name, data.class_names)
        if name in seen:
            raise UserError(f"{key}: {name!r} is there twice; each class has one other side")
        seen.add(name)


def renamed_pairs(
    pairs: tuple[tuple[str, str], ...], new_names: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """The pairs after classes were renamed, merged or (by the name "") ignored."""
    renamed = (tuple(new_names.get(name, name) for name in pair) for pair in pairs)
    # Sides that became one class, or of which one is ignored, have nothing to change with.
    kept = (pair for pair in renamed if all(pair) and pair[0] != pair[1])
    return tuple(dict.fromkeys(kept))


def mirrored_ids(data: ConfigDict) -> np.ndarray | None:
    """What each class id is in a mirrored image, int32 `[classes]`; None: all stay what they are.

    The same table leads back.
    """
    if not data.labels.mirror_pairs:
        return None
    names = list(data.class_names)
    ids = np.arange(len(names), dtype=np.int32)
    for one, other in data.labels.mirror_pairs:
        ids[names.index(one)], ids[names.index(other)] = names.index(other), names.index(one)
    return ids
