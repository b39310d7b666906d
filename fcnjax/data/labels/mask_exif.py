"""Looks over a set for images with an EXIF orientation whose masks have none."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_files import array_size, is_array
from fcnjax.data.labels.mask_set import evenly
from fcnjax.data.labels.orientation import (
    MASK_EXIF,
    UPRIGHT,
    Size,
    drawn_on,
    is_quarter_turn,
    mask_orientation,
    read_orientation,
    upright,
)
from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError, choose
from fcnjax.runtime.packages import to_stderr

LOOKED_AT = 20_000  # pairs whose headers are read
_THREADS = 8
_warned: set[str] = set()  # folders, in this process


class Turned(NamedTuple):
    """An image with an EXIF orientation, whose mask has none.

    Attributes:
        image: The image file.
        drawn_on: `stored` or `turned` pixels, by the sizes; None where they do not tell.
    """

    image: File
    drawn_on: str | None


def turn_with_image(label: np.ndarray, image: File, mask: File, rule: str) -> np.ndarray:
    """Turns a label as its image was turned, where its mask was drawn on the stored pixels.

    Under `auto`, of a set that `resolve_mask_exif` has not looked over, an assumption is printed.

    Args:
        label: `[H, W]`, turned by the mask's own orientation if it has one.
        image: The image file.
        mask: The mask file.
        rule: `config.data.labels.mask_exif`.
    """
    size, orientation = read_orientation(image)
    if orientation == UPRIGHT or _own_orientation(mask) != UPRIGHT:
        return label
    if rule == "auto" and drawn_on(orientation, size, label.shape) is None:
        _warn_once(str(Path(str(image)).parent), str(image))
    turn = mask_orientation(orientation, size, label.shape, rule)
    return np.ascontiguousarray(upright(label, turn))


def _warn_once(folder: str, image: str) -> None:
    """Prints a line on the first image of a folder whose mask is assumed to be of stored pixels."""
    if folder in _warned:
        return
    _warned.add(folder)
    to_stderr(
        f"warning: {image}: has an EXIF orientation that its mask lacks, and their sizes do not "
        "tell whether the mask is of the stored pixels or of the turned picture; assumed: stored; "
        "--config.data.labels.mask_exif=stored or turned decides"
    )


def mask_size(image: File, mask: File, rule: str) -> Size:
    """Height and width that the label of a mask will have; from the headers of both files.

    Raises:
        UserError: A file is missing or damaged.
    """
    stored, orientation = read_orientation(image)
    size, own = _size_and_orientation(mask, stored)
    if own == UPRIGHT:
        own = mask_orientation(orientation, stored, size, rule)
    return size[::-1] if is_quarter_turn(own) else size


def find_turned(pairs: Sequence[tuple[File, File]]) -> list[Turned]:
    """The images with an EXIF orientation whose masks have none; looks at a part of many."""
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda pair: _turned(*pair), evenly(pairs, LOOKED_AT)))
    return [one for one in found if one is not None]


def _turned(image: File, mask: File) -> Turned | None:
    try:
        size, orientation = read_orientation(image)
        if orientation == UPRIGHT:
            return None
        of_mask, own = _size_and_orientation(mask, size)
    except UserError:  # the reader reports it
        return None
    return Turned(image, drawn_on(orientation, size, of_mask)) if own == UPRIGHT else None


def _own_orientation(mask: File) -> int:
    return UPRIGHT if is_array(mask) else read_orientation(mask)[1]


def _size_and_orientation(mask: File, size: Size) -> tuple[Size, int]:
    """Of a mask, from its header; `size` is that of its image."""
    return (array_size(mask, size), UPRIGHT) if is_array(mask) else read_orientation(mask)


def resolve_mask_exif(data: ConfigDict, pairs: Sequence[tuple[File, File]]) -> list[str]:
    """Fill in `config.data.labels.mask_exif` where masks lack the orientation of their images.

    Returns:
        Lines on what was found or assumed.

    Raises:
        UserError: The key has another value than those of `MASK_EXIF`.
    """
    choose(MASK_EXIF, data.labels.mask_exif, "config.data.labels.mask_exif")
    if data.labels.mask_exif != "auto":
        return []
    turned = find_turned(pairs)
    if not turned:
        return []
    rule, line = assume(turned)
    data.labels.mask_exif = rule
    return [f"{data.root or data.name}: {line}"]


def assume(turned: Sequence[Turned]) -> tuple[str, str]:
    """The rule for masks whose sizes do not tell, and a line on the images that need it.

    Args:
        turned: One or more.

    Returns:
        A key of `MASK_EXIF`, and the line.
    """
    evidence = {one.drawn_on for one in turned} - {None}
    rule = "turned" if evidence == {"turned"} else "stored"
    unclear = [one.image for one in turned if one.drawn_on is None]
    of = {"stored": "the stored pixels", "turned": "the turned picture"}
    line = (
        f"{len(turned)} images have an EXIF orientation that their masks lack, as {turned[0].image}"
    )
    if evidence:
        pixels = " and of ".join(of[what] for what in sorted(evidence))
        line += f"; by their sizes masks are of {pixels}"
    if unclear:
        line += (
            f"; the sizes of {len(unclear)} do not tell, as of {unclear[0]}: their masks are "
            f"assumed to be of {of[rule]}; --config.data.labels.mask_exif=stored or turned decides"
        )
    return rule, line
