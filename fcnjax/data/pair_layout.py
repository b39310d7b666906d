"""Layouts of datasets that store an image file and a mask file for each example."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.labels.mask_set import mask_set
from fcnjax.data.layout import (
    PARTS,
    Layout,
    count_note,
    overlap_notes,
    require_root,
    set_defaults,
)
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.pairs import Pair, PairSource, check_pair_sizes
from fcnjax.data.source import StoredSource


def fixed_layout(
    summary: str,
    list_pairs: Callable[[ConfigDict, str], Sequence[tuple[Path, Any]]],
    fixed: Mapping[str, Any],
    read_label: Callable[[ConfigDict], Callable[[Any, tuple[int, int]], np.ndarray]] | None = None,
    reference: str = "",
) -> Layout:
    """Return the layout of a dataset whose classes are known in advance.

    Args:
        summary: As in `Layout`.
        list_pairs: Lists the image files and masks of a split, given `config.data` and the name of
            the split in the dataset. Raises UserError if there is none.
        fixed: Keys of `config.data` that the dataset determines, such as `class_names` and
            `mask_values`. Values set in the config take precedence.
        read_label: Returns the reader of masks, given `config.data`; as in `PairSource`.
        reference: As in `Layout`.
    """

    def list_part(data: ConfigDict, part: str) -> Sequence[tuple[Path, Any]]:
        return list_pairs(data, data.split[part])

    def resolve(config: ConfigDict) -> list[str]:
        data = config.data
        require_root(data)
        set_defaults(data, fixed)
        parts = {part: list_part(data, part) for part in PARTS}
        note = count_note(data.root, parts)
        if read_label:
            return [note]
        return [note, *resolve_mask_exif(data, [*parts["train"], *parts["eval"]])]

    def open_part(config: ConfigDict, part: str) -> StoredSource:
        data = config.data
        return PairSource(list_part(data, part), data, read_label(data) if read_label else None)

    return Layout(summary, resolve, open_part, reference=reference)


def resolve_pairs(
    data: ConfigDict,
    parts: Mapping[str, Sequence[Pair]],
    name: object,
    *,
    detail: str = "",
    check_sizes: bool = True,
) -> list[str]:
    """Detect the classes of mask files, and compare the sizes of images and masks.

    Args:
        data: `config.data`; keys that are not set are filled in.
        parts: The pairs of `train` and `eval`.
        name: The dataset, for the lines.
        detail: Follows the numbers of images.
        check_sizes: Whether sizes are compared. With `config.data.loading.on_error=skip` they are
            compared on reading.

    Returns:
        Lines about what was found.

    Raises:
        UserError: The classes cannot be detected, or sizes differ.
    """
    pairs = [pair for part in parts.values() for pair in part]
    exif_notes = resolve_mask_exif(data, pairs)
    if check_sizes and not skips_unreadable(data):
        check_pair_sizes(pairs, data.labels.mask_exif)
    note = count_note(name, parts) + detail + find_classes(data, mask_set(pairs))
    shared = {*parts["train"]} & {*parts["eval"]}
    return [note, *exif_notes, *overlap_notes(name, len(shared))]
