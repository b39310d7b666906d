"""EXIF orientation of masks.

Images are turned upright by their EXIF orientation. A mask often has no such tag. Either it was
drawn on the stored pixels, by a tool that ignores the tag, and has to be turned with its image; or
it was drawn on the turned picture, and is upright already. After a quarter turn the sizes tell the
two apart. After half a turn, a mirroring, and for square images they do not: then
`config.data.mask_exif` decides.
"""

from types import MappingProxyType

from fcnjax.data.readers.decode import read_image_header
from fcnjax.data.readers.exif import UPRIGHT, is_quarter_turn
from fcnjax.data.readers.image_file import File
from fcnjax.errors import choose

Size = tuple[int, int]  # height and width
# Values of config.data.mask_exif, for masks whose sizes do not tell.
MASK_EXIF = MappingProxyType(
    {
        "auto": "as the quarter-turned images of the set show; stored where there are none",
        "stored": "masks are of the stored pixels, and are turned with their images",
        "turned": "masks are of the turned picture, and stay as they are",
    }
)


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
    choose(MASK_EXIF, rule, "config.data.mask_exif")
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
