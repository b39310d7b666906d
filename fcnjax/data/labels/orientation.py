"""EXIF orientation of an image and of its mask.

Images are turned as their EXIF orientation says. A mask often has no such tag, and then two things
are possible: it was drawn on the stored pixels, by a tool that ignores the tag, and has to be
turned with its image; or it was drawn on the turned picture, and is right as it is. After a quarter
turn the sizes tell the two apart. After half a turn, after a mirror, and of a square image, they do
not: `config.data.mask_exif` decides.
"""

from types import MappingProxyType

import numpy as np

from fcnjax.data.readers.decode import read_image_header
from fcnjax.data.readers.image_file import File
from fcnjax.errors import choose

Size = tuple[int, int]  # height and width
UPRIGHT = 1
# config.data.mask_exif, where sizes do not tell.
MASK_EXIF = MappingProxyType(
    {
        "auto": "as the quarter-turned images of the set show; stored where there are none",
        "stored": "masks are of the stored pixels, and are turned with their images",
        "turned": "masks are of the turned picture, and stay as they are",
    }
)


def is_quarter_turn(orientation: int) -> bool:
    """Return whether undoing an orientation (1 to 8) exchanges height and width."""
    return orientation >= 5


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation (1 to 8) of `[H, W, ...]`; returns a view."""
    if is_quarter_turn(orientation):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def mask_orientation(
    image_orientation: int, stored_size: Size, mask_size: Size, rule: str = "auto"
) -> int:
    """The EXIF orientation to undo for a mask that has no tag of its own.

    Args:
        image_orientation: The orientation of the image, 1 to 8.
        stored_size: Height and width of the image as stored, before it is turned.
        mask_size: Height and width of the mask as stored, or those that an annotation file gives.
        rule: A key of `MASK_EXIF`. It decides where the sizes do not; `auto` stands for `stored`.

    Returns:
        `image_orientation`, or 1 where the mask is of the turned picture.

    Raises:
        UserError: An unknown rule.
    """
    choose(MASK_EXIF, rule, "config.data.mask_exif")
    evidence = drawn_on(image_orientation, stored_size, mask_size)
    return UPRIGHT if (evidence or rule) == "turned" else image_orientation


def drawn_on(image_orientation: int, stored_size: Size, mask_size: Size) -> str | None:
    """`stored` or `turned`, by the sizes; None where they do not tell."""
    height, width = stored_size
    if not is_quarter_turn(image_orientation) or height == width:
        return None
    return {(height, width): "stored", (width, height): "turned"}.get(tuple(mask_size))


def read_orientation(file: File) -> tuple[Size, int]:
    """The height and width of an image file as stored, and its EXIF orientation; from the header.

    Raises:
        UserError: The file is missing or no image.
    """
    header = read_image_header(file)
    return (header.height, header.width), header.orientation
