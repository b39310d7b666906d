"""Splits of a dataset: by lists of names, one a line, or by holding out a part by chance."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.files.folders import find_existing
from fcnjax.data.pairs import Pair
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside
from fcnjax.io.json_files import read_text

T = TypeVar("T")


def read_names(path: Path) -> list[tuple[int, str]]:
    """Return the names in a list, each with the number of its line; blank lines are skipped.

    Raises:
        UserError: The file is missing, not text, or has no name, or one that leaves its folder.
    """
    lines = read_text(path).splitlines()
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not names:
        raise UserError(f"{path}: names no image")
    for number, name in names:
        if name.startswith("/") or ".." in name.split("/"):
            inside(path.parent, name, f"{path}, line {number}")
    return names


def file_names(folder: Path) -> frozenset[str]:
    """Return the names of the entries of a folder.

    Raises:
        UserError: It is not a folder, or cannot be read.
    """
    try:
        return frozenset(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder}: no such folder") from error
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error


def listed_pairs(
    path: Path, images: Path, masks: Path, image_end: str, mask_end: str
) -> list[Pair]:
    """Return the images that a list names, with their masks, in its order.

    Args:
        path: The list. A name may have the image's ending.
        images: Folder of images.
        masks: Folder of masks.
        image_end: Ending of image files after the name, such as `.jpg`.
        mask_end: Ending of mask files after the name, such as `_L.png`.

    Raises:
        UserError: The list, a folder, an image or a mask is missing; or a name leads out of the
            folders.
    """
    existing = {folder: file_names(folder) for folder in (images, masks)}
    pairs = []
    for number, line in read_names(path):
        name, where = line.removesuffix(image_end), f"{path}, line {number}"
        pair = (
            inside(images, f"{name}{image_end}", where),
            inside(masks, f"{name}{mask_end}", where),
        )
        pair = tuple(map(find_existing, pair))
        for what, file in zip(("image", "mask"), pair, strict=True):
            if file.name not in existing.get(file.parent, ()):
                raise UserError(f"{where}: no {what} {file.name} in {file.parent}")
        pairs.append(pair)
    return pairs


def hold_out(
    items: Sequence[T], data: ConfigDict, names: Sequence[str] | None = None
) -> dict[str, list[T]]:
    """Divide items into `train` and `eval`, by a seed, with at least one on each side.

    With `config.data.split.folds` they are divided into that many disjoint parts, and part
    `config.data.split.fold` is held out. With `config.data.split.group_by`, items in
    whose names the pattern finds the same text are on one side.

    Args:
        items: Two or more.
        data: `config.data`, for `eval_fraction`, `split_seed`, `folds`, `fold` and `group_by`.
        names: The name of each item, for groups; None if items have none.

    Raises:
        UserError: A key is out of range, there are too few items or groups, or a name without one.
    """
    if not 0 < data.split.eval_fraction < 1:
        raise UserError(
            f"config.data.split.eval_fraction: {data.split.eval_fraction} is not between 0 and 1"
        )
    if len(items) < 2:
        raise UserError(f"{data.root}: {len(items)} image cannot be split; give two or more")
    groups = _groups(len(items), data, names)
    count = int(groups.max()) + 1
    order = np.random.default_rng(data.split.seed).permutation(count)
    if data.split.folds:
        _check_folds(data, count)
        held_out = set(order[data.split.fold :: data.split.folds].tolist())
    else:
        held = min(max(round(count * data.split.eval_fraction), 1), count - 1)
        held_out = set(order[:held].tolist())
    parts = {"train": [], "eval": []}
    for item, group in zip(items, groups.tolist(), strict=True):
        parts["eval" if group in held_out else "train"].append(item)
    return parts


def refuse_folds(data: ConfigDict, division: str) -> None:
    """Raise UserError if `config.data.split.folds` or `.group_by` would have no effect."""
    for key in ("split.folds", "split.group_by"):
        if data[key]:
            raise UserError(
                f"config.data.{key}: {data[key]!r} is for images that are divided {division}"
            )


def _check_folds(data: ConfigDict, count: int) -> None:
    if not 2 <= data.split.folds <= count:
        items = "groups" if data.split.group_by else "images"
        raise UserError(
            f"config.data.split.folds: {data.split.folds} is not in 2..{count}, the number of "
            f"{items}"
        )
    if not 0 <= data.split.fold < data.split.folds:
        raise UserError(
            f"config.data.split.fold: {data.split.fold} is not in 0..{data.split.folds - 1} "
            "(config.data.split.folds)"
        )


def _groups(count: int, data: ConfigDict, names: Sequence[str] | None) -> np.ndarray:
    """Return the group of each item, int `[count]`; each item is its own without `group_by`."""
    if not data.split.group_by:
        return np.arange(count)
    key = "config.data.split.group_by"
    if names is None:
        raise UserError(f"{key}: the source {data.source} has no names to group by; valid: ''")
    try:
        pattern = re.compile(data.split.group_by)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"{key}: {data.split.group_by!r} is not a regular expression: {error}"
        ) from None
    numbers: dict[str, int] = {}
    groups = []
    for name in names:
        match = pattern.search(name)
        if match is None:
            raise UserError(f"{key}: {data.split.group_by!r} finds nothing in {name}")
        # The first group of the pattern, or the whole match.
        groups.append(numbers.setdefault(match[min(pattern.groups, 1)] or "", len(numbers)))
    if len(numbers) < 2:
        raise UserError(
            f"{key}: {data.split.group_by!r} finds {next(iter(numbers))!r} in all names"
        )
    return np.asarray(groups)
