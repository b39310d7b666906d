"""Lists of names, a line each, that say which files a split has."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.pairs import Pair
from fcnjax.errors import UserError
from fcnjax.files import inside

T = TypeVar("T")


def read_names(path: Path) -> list[tuple[int, str]]:
    """The names that a list holds, each after the number of its line; blank lines are none.

    Raises:
        UserError: The file is missing, no text, or has no name, or one that leaves its folder.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such list of names") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error
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
        for what, file in zip(("image", "mask"), pair, strict=True):
            if file.name not in there.get(file.parent, ()):
                raise UserError(f"{where}: no {what} {file.name} in {file.parent}")
        pairs.append(pair)
    return pairs


def hold_out(items: Sequence[T], data: ConfigDict) -> dict[str, list[T]]:
    """Divides items into `train` and `eval`, always alike for a seed, one or more on each side.

    Args:
        items: Two or more.
        data: `config.data`, for `eval_fraction` and `split_seed`.

    Raises:
        UserError: The fraction is not between 0 and 1, or there are too few items.
    """
    if not 0 < data.eval_fraction < 1:
        raise UserError(f"config.data.eval_fraction: {data.eval_fraction} is not between 0 and 1")
    if len(items) < 2:
        raise UserError(f"{data.root}: {len(items)} image cannot be split; give two or more")
    order = np.random.default_rng(data.split_seed).permutation(len(items))
    count = min(max(round(len(items) * data.eval_fraction), 1), len(items) - 1)
    held_out = set(order[:count].tolist())
    return {
        "train": [item for i, item in enumerate(items) if i not in held_out],
        "eval": [item for i, item in enumerate(items) if i in held_out],
    }
