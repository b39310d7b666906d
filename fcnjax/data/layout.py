"""Layouts: the ways in which datasets of labelled images are stored."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.labels.mask_set import mask_set
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.pairs import Pair, PairSource, check_pair_sizes
from fcnjax.data.source import StoredSource
from fcnjax.data.splits.lists import refuse_folds
from fcnjax.errors import UserError, choose
from fcnjax.io.pictures import default_palette

PARTS = ("train", "eval")


@dataclass(frozen=True)
class Layout:
    """A way in which datasets are stored: a row of the table of sources.

    Attributes:
        summary: The content of `config.data.root` (or `.name`), in one line of the help.
        resolve: Fills in the keys of `config.data` that are not set (classes, stored values,
            colours), and returns lines about what was found.
        open: Opens the split `train` or `eval` of a resolved config.
        can_split: Whether a dataset without splits is divided (`splits.lists.hold_out`).
        reference: The publication that describes the dataset or format.
    """

    summary: str
    resolve: Callable[[ConfigDict], list[str]]
    open: Callable[[ConfigDict, str], StoredSource]
    can_split: bool = False
    reference: str = ""


def variant_layout(
    key: str, choose_variant: Callable[[ConfigDict], str], variants: Mapping[str, Layout]
) -> Layout:
    """Return a layout that selects one of several variants of a dataset.

    Args:
        key: The key of `config.data` that holds the name of the variant.
        choose_variant: Returns the name, given `config.data`.
        variants: Layouts by name, with the same summary.
    """

    def resolve(config: ConfigDict) -> list[str]:
        require_root(config.data)
        # Stored, so that a copy of the dataset with other masks is not read as this variant.
        config.data.update_from_flattened_dict({key: choose_variant(config.data)})
        return variants[config.data[key]].resolve(config)

    def open_part(config: ConfigDict, part: str) -> StoredSource:
        return variants[config.data[key]].open(config, part)

    first = next(iter(variants.values()))
    return Layout(first.summary, resolve, open_part, reference=first.reference)


def set_defaults(data: ConfigDict, defaults: Mapping[str, Any]) -> None:
    """Set keys of `config.data` that the config leaves empty."""
    # Class names of the user belong to other classes than the palette and pairs of the dataset.
    has_names = bool(data.class_names) and "class_names" in defaults
    for key, value in defaults.items():
        if has_names and key == "palette" and len(value) != len(data.class_names):
            continue
        if has_names and key == "labels.mirror_pairs":
            continue
        if data[key] in (None, "", ()):
            data.update_from_flattened_dict({key: value})
    if not data.palette:
        data.palette = default_palette(len(data.labels.mask_values))


def require_root(data: ConfigDict) -> Path:
    """Make `config.data.root` absolute, so that it is valid in any working directory.

    Raises:
        UserError: It is not a folder.
    """
    root = Path(data.root)
    if not data.root or not root.is_dir():
        raise UserError(f"config.data.root: {data.root!r} is not a folder")
    data.root = str(root.absolute())
    return Path(data.root)


def require_folders(folders: Iterable[Path], hint: str) -> None:
    """Raise UserError if a folder is missing; the hint says which folders are expected."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; {hint}")


def choose_split(data: ConfigDict, split: str, valid: Sequence[str]) -> str:
    """Return the name of a split.

    Raises:
        UserError: It is not among the valid names; names the key.
    """
    part = "train" if split == data.split.train else "eval"
    return choose(dict.fromkeys(valid, split), split, f"config.data.split.{part}")


def splits_by_list(data: ConfigDict, has_lists: bool, where: str = "here are lists") -> bool:
    """Return whether splits are listed, by `config.data.split.by`: `auto`, `list` or `fraction`.

    Args:
        data: `config.data`.
        has_lists: Whether the dataset lists its splits, which decides for `auto`.
        where: Says so in the error for keys that a listed split ignores.

    Raises:
        UserError: Another value, or `config.data.split.folds` or `.group_by` with listed splits.
    """
    values = {"auto": has_lists, "list": True, "fraction": False}
    if not choose(values, data.split.by, "config.data.split.by"):
        return False
    refuse_folds(data, f"by chance, and {where}; give config.data.split.by=fraction")
    return True


def count_note(name: object, parts: Mapping[str, Sequence]) -> str:
    """Return the line on the numbers of images of both splits."""
    return f"{name}: {len(parts['train'])} images to train on, {len(parts['eval'])} held out"


def overlap_notes(name: object, count: int) -> list[str]:
    """Return a line on the number of examples that are in both splits; [] if there are none."""
    return [f"{name}: {count} images are in both splits: the score is too high"] if count else []


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
