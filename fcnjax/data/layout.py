"""A way that sets of labelled images are stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.pairs import PairSource
from fcnjax.data.source import StoredSource
from fcnjax.errors import UserError, choose
from fcnjax.io.pictures import default_palette

PARTS = ("train", "eval")


@dataclass(frozen=True)
class Layout:
    """A way that sets of labelled images are stored.

    Attributes:
        summary: What `config.data.root` (or `.name`) holds, in a line of the help.
        resolve: Fills in what `config.data` leaves open (classes, stored values, colours), and
            returns lines on what was found.
        open: Opens the split `train` or `eval` of a resolved config.
        divides: Whether it divides images itself (`fcnjax.data.splits.lists.hold_out`), where they
            have no splits of their own.
    """

    summary: str
    resolve: Callable[[ConfigDict], list[str]]
    open: Callable[[ConfigDict, str], StoredSource]
    divides: bool = False


def fixed_layout(
    summary: str,
    list_pairs: Callable[[ConfigDict, str], Sequence[tuple[Path, Any]]],
    fixed: Mapping[str, Any],
    read_label: Callable[[ConfigDict], Callable[[Any, tuple[int, int]], np.ndarray]] | None = None,
) -> Layout:
    """A layout whose classes are known beforehand.

    Args:
        summary: As in `Layout`.
        list_pairs: The pairs of an image file and a mask of a split, as the set names it: given
            `config.data` and the split's name. Raises UserError where there is none.
        fixed: Keys of `config.data` that the layout knows, such as `class_names` and
            `mask_values`; what the config says itself stands.
        read_label: Given `config.data`, what reads a mask of the pairs; as in `PairSource`.
    """

    def resolve(config: ConfigDict) -> list[str]:
        data = config.data
        require_root(data)
        fill_in(data, fixed)
        pairs = [list_pairs(data, data.split[part]) for part in PARTS]
        note = f"{data.root}: {len(pairs[0])} images to train on, {len(pairs[1])} held out"
        if read_label:
            return [note]
        return [note, *resolve_mask_exif(data, [*pairs[0], *pairs[1]])]

    def open_part(config: ConfigDict, part: str) -> StoredSource:
        data = config.data
        pairs = list_pairs(data, data.split[part])
        return PairSource(pairs, data, read_label(data) if read_label else None)

    return Layout(summary, resolve, open_part)


def fill_in(data: ConfigDict, fixed: Mapping[str, Any]) -> None:
    """Sets keys of `config.data` that the config leaves empty."""
    # Names of the user's own are for classes of the user's own.
    own = bool(data.class_names) and "class_names" in fixed
    for key, value in fixed.items():
        if own and key == "palette" and len(value) != len(data.class_names):
            continue
        if own and key == "labels.mirror_pairs":
            continue
        if data[key] in (None, "", ()):
            data.update_from_flattened_dict({key: value})
    if not data.palette:
        data.palette = default_palette(len(data.labels.mask_values))


def require_root(data: ConfigDict) -> Path:
    """`config.data.root` as an absolute path, which it becomes: it is found from any folder.

    Raises:
        UserError: It is no folder.
    """
    root = Path(data.root)
    if not data.root or not root.is_dir():
        raise UserError(f"config.data.root: {data.root!r} is not a folder")
    data.root = str(root.absolute())
    return Path(data.root)


def choose_split(data: ConfigDict, split: str, valid: Sequence[str]) -> str:
    """The split's name.

    Raises:
        UserError: It is not among the valid ones; names the key.
    """
    part = "train" if split == data.split.train else "eval"
    return choose(dict.fromkeys(valid, split), split, f"config.data.split.{part}")
