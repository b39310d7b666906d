"""The pixels to which annotations of a photograph with an EXIF orientation refer."""

from pathlib import Path

from fcnjax.data.labels.mask_exif import mask_orientation, read_orientation
from fcnjax.data.pairs import check_same_size
from fcnjax.data.readers.image_file import File
from fcnjax.data.readers.stored_pixels import UPRIGHT, Size, is_quarter_turn
from fcnjax.errors import UserError


def drawing_frame(
    image: File, size: Size, file: Path, annotated_size: Size | None, rule: str
) -> tuple[Size, int]:
    """Return the size on which the shapes of an image are drawn, and the orientation to undo then.

    Most annotation tools show a photograph upright, and their coordinates refer to that picture;
    others refer to the stored pixels. After a quarter turn, the size in the annotations tells the
    two apart.

    Args:
        image: The image file.
        size: Height and width of the upright image.
        file: The annotations, for the error.
        annotated_size: Height and width in the annotations; None if they have none.
        rule: `config.data.labels.mask_exif`, used if the sizes do not tell; `auto` is `turned`.

    Raises:
        UserError: The size in the annotations is not the image's. It is refused before an array of
            that size is allocated.
    """
    try:
        stored, orientation = read_orientation(image)
    except UserError:  # the image could be read, so it has a format without EXIF
        stored, orientation = size, UPRIGHT
    rule = "turned" if rule == "auto" else rule
    drawn = annotated_size or (stored if rule == "stored" else size)
    orientation = mask_orientation(orientation, stored, drawn, rule)
    check_same_size(image, size, file, drawn[::-1] if is_quarter_turn(orientation) else drawn)
    return drawn, orientation
