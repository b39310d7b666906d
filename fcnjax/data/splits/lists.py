"""Lists of names, a line each, that say which files a split has."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.files.file_names import existing
from fcnjax.data.pairs import Pair
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside
from fcnjax.io.json_files import read_text

T = TypeVar("T")


def read_names(path: Path) -> list[tuple[int, str]]:
    """The names that a list holds, each after the number of its line; blank lines are none.

    Raises:
        UserError: The file is missing, no text, or has no name, or one that leaves its folder.
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
    """The names of what a folder holds.

    Raises:
        UserError: It is no folder, or cannot be read.
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
    """The images that a list names, and their masks, in its order.

    Args:
        path: The list. A name may have the image's ending.
        images: Folder of images.
        masks: Folder of masks.
        image_end: What an image file's name has after the name, as `.jpg`.
        mask_end: What a mask's has, as `_L.png`.

    Raises:
        UserError: The list or a folder is missing, or an image that it names, or its mask; or a
            name leads out of the folders.
    """
    there = {folder: file_names(folder) for folder in (images, masks)}
    pairs = []
    for number, line in read_names(path):
        name, where = line.removesuffix(image_end), f"{path}, line {number}"
        pair = (
            inside(images, f"{name}{image_end}", where),
            inside(masks, f"{name}{mask_end}", where),
        )
        pair = tuple(map(existing, pair))
        for what, file in zip(("image", "mask"), pair, strict=True):
            if file.name not in there.get(file.parent, ()):
                raise UserError(f"{where}: no {what} {file.name} in {file.parent}")
        pairs.append(pair)
    return pairs


def hold_out(
    items: Sequence[T], data: ConfigDict, names: Sequence[str] | None = None
) -> dict[str, list[T]]:
    """Divides items into `train` and `eval`, always alike for a seed, one or more on each side.

    With `config.data.split.folds` they are divided into so many parts, of which
    `config.data.split.fold` is
    held out; the parts do not overlap and hold all. With `config.data.split.group_by`, items of
    whose
    names it finds the same are on one side.

    Args:
        items: Two or more.
        data: `config.data`, for `split.eval_fraction`, `.seed`, `.folds`, `.fold` and `.group_by`.
        names: The name of each item, which groups go by; None where items have none.

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
    of_eval = [group in held_out for group in groups.tolist()]
    return {
        "train": [item for item, held in zip(items, of_eval, strict=True) if not held],
        "eval": [item for item, held in zip(items, of_eval, strict=True) if held],
    }


def refuse_folds(data: ConfigDict, why: str) -> None:
    """Raises UserError where `config.data.split.folds` or `.group_by` would be of no effect."""
    for key in ("split.folds", "split.group_by"):
        if data[key]:
            raise UserError(
                f"config.data.{key}: {data[key]!r} is for images that are divided {why}"
            )


def _check_folds(data: ConfigDict, count: int) -> None:
    if not 2 <= data.split.folds <= count:
        what = "groups" if data.split.group_by else "images"
        raise UserError(
            f"config.data.split.folds: {data.split.folds} is not in 2..{count}, the {what} there "
            "are"
        )
    if not 0 <= data.split.fold < data.split.folds:
        raise UserError(
            f"config.data.split.fold: {data.split.fold} is not in 0..{data.split.folds - 1} "
            "(config.data.split.folds)"
        )


def _groups(count: int, data: ConfigDict, names: Sequence[str] | None) -> np.ndarray:
    """The group of each item, int `[count]`: itself alone where nothing groups."""
    if not data.split.group_by:
        return np.arange(count)
    key = "config.data.split.group_by"
    if names is None:
        raise UserError(f"{key}: the source {data.source} has no names to group by; valid: ''")
    try:
        pattern = re.compile(data.split.group_by)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"{key}: {data.split.group_by!r} is no regular expression: {error}"
        ) from None
    found: dict[str, int] = {}
    groups = []
    for name in names:
        match = pattern.search(name)
        if match is None:
            raise UserError(f"{key}: {data.split.group_by!r} finds nothing in {name}")
        # The first part in parentheses, or all that is found.
        groups.append(found.setdefault(match[min(pattern.groups, 1)] or "", len(found)))
    if len(found) < 2:
        raise UserError(f"{key}: {data.split.group_by!r} finds {next(iter(found))!r} in all names")
    return np.asarray(groups)
