"""Application of `config.data.label_map`: renames, merges and ignores classes."""

from ml_collections import ConfigDict

from fcnjax.data.labels.masks import stored_values
from fcnjax.data.mirror import renamed_pairs
from fcnjax.errors import UserError, unknown


def merge_classes(data: ConfigDict) -> None:
    """Apply `config.data.label_map` to the classes, and empty it.

    It holds pairs of a class and its new name. Classes of the same new name are merged, in the
    position of the first; those with the new name "" are ignored; others are unchanged.

    Raises:
        UserError: A class does not exist, or fewer than two remain.
    """
    new_names = dict(data.label_map)
    for old in new_names:
        if old not in data.class_names:
            raise unknown("config.data.label_map", old, dict.fromkeys(data.class_names))
    merged: dict[str, list[int]] = {}
    colours: dict[str, tuple] = {}
    dropped = []
    for name, entry, colour in zip(data.class_names, data.mask_values, data.palette, strict=True):
        new = new_names.get(name, name)
        if not new:
            dropped += stored_values(entry)
            continue
        merged.setdefault(new, []).extend(stored_values(entry))
        colours.setdefault(new, colour)
    if len(merged) < 2:
        raise UserError(f"config.data.label_map: leaves {len(merged)} class; two are needed")
    data.class_names = tuple(merged)
    data.mask_values = tuple(v[0] if len(v) == 1 else tuple(v) for v in merged.values())
    data.palette = tuple(colours.values())
    data.ignore_values = (*data.ignore_values, *dropped)
    data.mirror_pairs = renamed_pairs(data.mirror_pairs, new_names)
    data.label_map = ()
