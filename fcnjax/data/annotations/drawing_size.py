"""The pixels that annotations of a photograph with an EXIF orientation refer to."""

from pathlib import Path

from fcnjax.data.labels.orientation import (
    UPRIGHT,
    Size,
    is_quarter_turn,
    mask_orientation,
    read_orientation,
)
from fcnjax.data.pairs import check_same_size
from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError


def drawing_size(
    image: File, size: Size, file: Path, stated: Size | None, rule: str
) -> tuple[Size, int]:
    """The size on which the shapes of an image are drawn, and the EXIF orientation to undo then.

    Most annotation tools show a photograph turned as its tag says, and their coordinates refer to
    that picture; others refer to the stored pixels. The size that the annotations state tells the
    two apart after a quarter turn.

    Args:
        image: The image file.
        size: Height and width of the image as it is read: turned.
        file: The annotations, for the error.
        stated: Height and width by the annotations; None where they state none.
        rule: `config.data.labels.mask_exif`, for images of which the sizes do not tell; `auto`
        stands for
            `turned`.

    Raises:
        UserError: The stated size is not the image's. It is refused before an array of that size is
            made: a file may state any.
    """
    try:
        stored, orientation = read_orientation(image)
    except UserError:  # it could be read, so it is of a form without EXIF
        stored, orientation = size, UPRIGHT
    rule = "turned" if rule == "auto" else rule
    if stated is None:
        stated = stored if rule == "stored" else size
    orientation = mask_orientation(orientation, stored, stated, rule)
    check_same_size(image, size, file, stated[::-1] if is_quarter_turn(orientation) else stated)
    return stated, orientation
