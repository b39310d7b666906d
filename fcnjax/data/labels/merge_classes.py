"""Application of `config.data.labels.label_map`: renames, merges and ignores classes."""

from ml_collections import ConfigDict

from fcnjax.data.flip_pairs import rename_flip_pairs
from fcnjax.data.labels.masks import stored_values
from fcnjax.errors import UserError, unknown


def merge_classes(data: ConfigDict) -> None:
    """Apply `config.data.labels.label_map` to the classes, and empty it.

    It holds pairs of a class and its new name. Classes of the same new name are merged, in the
    position of the first; those with the new name "" are ignored; others are unchanged.

    Raises:
        UserError: A class does not exist, or fewer than two remain.
    """
    new_names = dict(data.labels.label_map)
    for old in new_names:
        if old not in data.class_names:
            raise unknown("config.data.labels.label_map", old, dict.fromkeys(data.class_names))
    merged: dict[str, list[int]] = {}
    colours: dict[str, tuple] = {}
    dropped = []
    for name, entry, colour in zip(
        data.class_names, data.labels.mask_values, data.palette, strict=True
    ):
        new = new_names.get(name, name)
        if not new:
            dropped += stored_values(entry)
            continue
        merged.setdefault(new, []).extend(stored_values(entry))
        colours.setdefault(new, colour)
    if len(merged) < 2:
        raise UserError(f"config.data.labels.label_map: leaves {len(merged)} class; two are needed")
    data.class_names = tuple(merged)
    data.labels.mask_values = tuple(v[0] if len(v) == 1 else tuple(v) for v in merged.values())
    data.palette = tuple(colours.values())
    data.labels.ignore_values = (*data.labels.ignore_values, *dropped)
    data.labels.mirror_pairs = rename_flip_pairs(data.labels.mirror_pairs, new_names)
    data.labels.label_map = ()
