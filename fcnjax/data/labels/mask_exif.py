"""EXIF orientation of masks.

Images are turned upright by their EXIF orientation. A mask often has no such tag. Either it was
drawn on the stored pixels, by a tool that ignores the tag, and has to be turned with its image; or
it was drawn on the turned picture, and is upright already. After a quarter turn the sizes tell the
two apart. After half a turn, a mirroring, and for square images they do not: then
`config.data.labels.mask_exif` decides.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.mask_files import array_size, is_array
from fcnjax.data.labels.mask_set import evenly
from fcnjax.data.readers.decode import read_image_header
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.stored_pixels import UPRIGHT, Size, is_quarter_turn, upright
from fcnjax.errors import UserError, choose
from fcnjax.runtime.packages import to_stderr

# Values of config.data.labels.mask_exif, for masks whose sizes do not tell.
MASK_EXIF = MappingProxyType(
    {
        "auto": "as the quarter-turned images of the set show; stored where there are none",
        "stored": "masks are of the stored pixels, and are turned with their images",
        "turned": "masks are of the turned picture, and stay as they are",
    }
)
MAX_PAIRS = 20_000  # pairs whose headers are read
_THREADS = 8
_FRAMES = {"stored": "the stored pixels", "turned": "the turned picture"}
_warned: set[str] = set()  # folders, in this process


def mask_orientation(
    image_orientation: int, stored_size: Size, mask_size: Size, rule: str = "auto"
) -> int:
    """Return the EXIF orientation to undo for a mask that has no tag of its own.

    Args:
        image_orientation: Orientation of the image, 1 to 8.
        stored_size: Height and width of the image as stored.
        mask_size: Height and width of the mask as stored, or as given in an annotation file.
        rule: A key of `MASK_EXIF`, used if the sizes do not tell; `auto` stands for `stored`.

    Returns:
        `image_orientation`, or 1 if the mask is of the turned picture.

    Raises:
        UserError: An unknown rule.
    """
    choose(MASK_EXIF, rule, "config.data.labels.mask_exif")
    frame = mask_frame(image_orientation, stored_size, mask_size) or rule
    return UPRIGHT if frame == "turned" else image_orientation


def mask_frame(image_orientation: int, stored_size: Size, mask_size: Size) -> str | None:
    """Infer from sizes on which pixels a mask was drawn: `stored` or `turned`; None if unclear."""
    height, width = stored_size
    if not is_quarter_turn(image_orientation) or height == width:
        return None
    return {(height, width): "stored", (width, height): "turned"}.get(tuple(mask_size))


def read_orientation(file: File) -> tuple[Size, int]:
    """Return an image file's height and width as stored, and its EXIF orientation.

    Raises:
        UserError: The file is missing or not an image.
    """
    header = read_image_header(file)
    return (header.height, header.width), header.orientation


class UntaggedMask(NamedTuple):
    """A mask without an EXIF orientation, of an image that has one.

    Attributes:
        image: The image file.
        frame: The pixels on which the mask was drawn, as `mask_frame` infers them.
    """

    image: File
    frame: str | None


def orient_label(label: np.ndarray, image: File, mask: File, rule: str) -> np.ndarray:
    """Turn a label as its image is turned, if its mask was drawn on the stored pixels.

    Under `auto`, in a dataset that `resolve_mask_exif` has not checked, an assumption is printed.

    Args:
        label: `[H, W]`, upright by the mask's own orientation if it has one.
        image: The image file.
        mask: The mask file.
        rule: `config.data.labels.mask_exif`.
    """
    size, orientation = read_orientation(image)
    if orientation == UPRIGHT or _own_orientation(mask) != UPRIGHT:
        return label
    if rule == "auto" and mask_frame(orientation, size, label.shape) is None:
        _warn_once(str(Path(str(image)).parent), str(image))
    turn = mask_orientation(orientation, size, label.shape, rule)
    return np.ascontiguousarray(upright(label, turn))


def _warn_once(folder: str, image: str) -> None:
    """Print a line for the first image of a folder whose mask is assumed to be of stored pixels."""
    if folder in _warned:
        return
    _warned.add(folder)
    to_stderr(
        f"warning: {image}: has an EXIF orientation that its mask lacks, and their sizes do not "
        "tell whether the mask is of the stored pixels or of the turned picture; assumed: stored; "
        "--config.data.labels.mask_exif=stored or turned decides"
    )


def label_size(image: File, mask: File, rule: str) -> Size:
    """Return the height and width of the label of a mask, from the headers of both files.

    Raises:
        UserError: A file is missing or damaged.
    """
    stored, orientation = read_orientation(image)
    size, mask_tag = _size_and_orientation(mask, stored)
    if mask_tag == UPRIGHT:
        mask_tag = mask_orientation(orientation, stored, size, rule)
    return size[::-1] if is_quarter_turn(mask_tag) else size


def find_untagged_masks(pairs: Sequence[tuple[File, File]]) -> list[UntaggedMask]:
    """Return the masks without an orientation whose images have one, in a sample of the pairs."""
    with ThreadPoolExecutor(_THREADS) as pool:
        masks = list(pool.map(lambda pair: _untagged(*pair), evenly(pairs, MAX_PAIRS)))
    return [mask for mask in masks if mask is not None]


def _untagged(image: File, mask: File) -> UntaggedMask | None:
    try:
        size, orientation = read_orientation(image)
        if orientation == UPRIGHT:
            return None
        mask_size, mask_tag = _size_and_orientation(mask, size)
    except UserError:  # the reader reports it
        return None
    if mask_tag != UPRIGHT:
        return None
    return UntaggedMask(image, mask_frame(orientation, size, mask_size))


def _own_orientation(mask: File) -> int:
    return UPRIGHT if is_array(mask) else read_orientation(mask)[1]


def _size_and_orientation(mask: File, size: Size) -> tuple[Size, int]:
    """Return those of a mask, from its header; `size` is that of its image."""
    return (array_size(mask, size), UPRIGHT) if is_array(mask) else read_orientation(mask)


def resolve_mask_exif(data: ConfigDict, pairs: Sequence[tuple[File, File]]) -> list[str]:
    """Fill in `config.data.labels.mask_exif` if images have an orientation that their masks lack.

    Returns:
        Lines on what was found or assumed.

    Raises:
        UserError: The key has an invalid value.
    """
    choose(MASK_EXIF, data.labels.mask_exif, "config.data.labels.mask_exif")
    if data.labels.mask_exif != "auto":
        return []
    masks = find_untagged_masks(pairs)
    if not masks:
        return []
    rule, line = choose_rule(masks)
    data.labels.mask_exif = rule
    return [f"{data.root or data.name}: {line}"]


def choose_rule(masks: Sequence[UntaggedMask]) -> tuple[str, str]:
    """Return the rule for masks whose sizes do not tell, and a line on the images that need it.

    Args:
        masks: One or more.

    Returns:
        A key of `MASK_EXIF`, and the line.
    """
    frames = {mask.frame for mask in masks} - {None}
    rule = "turned" if frames == {"turned"} else "stored"
    unclear = [mask.image for mask in masks if mask.frame is None]
    line = (
        f"{len(masks)} images have an EXIF orientation that their masks lack, as {masks[0].image}"
    )
    if frames:
        pixels = " and of ".join(_FRAMES[frame] for frame in sorted(frames))
        line += f"; by their sizes masks are of {pixels}"
    if unclear:
        line += (
            f"; the sizes of {len(unclear)} do not tell, as of {unclear[0]}: their masks are "
            f"assumed to be of {_FRAMES[rule]}; --config.data.labels.mask_exif=stored or turned "
            "decides"
        )
    return rule, line
