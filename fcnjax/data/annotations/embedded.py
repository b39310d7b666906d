"""Masks that files of annotations hold as a PNG in base64."""

import base64
from typing import NamedTuple

import numpy as np

from fcnjax.data.readers.decode import read_image_header, read_stored_pixels
from fcnjax.data.readers.formats import png
from fcnjax.data.readers.image_file import Encoded
from fcnjax.errors import UserError

_NAME = "the mask"


class Embedded(NamedTuple):
    """A picture that stands for a mask.

    Attributes:
        coloured: `[H, W]` bool, where it is not black; of a palette, where its index is not 0.
        alpha: `[H, W]` of any unsigned type; None where it has no transparency.
    """

    coloured: np.ndarray
    alpha: np.ndarray | None


def from_base64(text: object) -> bytes:
    """The bytes of a text in base64.

    Raises:
        ValueError: It is no such text.
    """
    if not isinstance(text, str):
        raise ValueError("it is not a text in base64")
    return base64.b64decode(text)


def read_embedded(content: bytes, most: tuple[int, int]) -> Embedded:
    """Reads a PNG.

    Args:
        content: The PNG.
        most: The height and width that it may have.

    Raises:
        ValueError: It is no PNG, is damaged, or larger; the size is read before the pixels are.
    """
    if not content.startswith(png.MAGIC):
        raise ValueError("it is not a PNG")
    file = Encoded(content, _NAME, "")
    try:
        header = read_image_header(file)
        if header.height > most[0] or header.width > most[1]:
            raise ValueError(
                f"it is {header.width}x{header.height} pixels, and may have {most[1]}x{most[0]}"
            )
        stored = read_stored_pixels(file)
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{_NAME}: ")) from error
    roles = stored.colorinterp
    bands = [band for band, role in enumerate(roles) if role != "alpha"]
    alpha = stored.pixels[..., roles.index("alpha")] if "alpha" in roles else None
    return Embedded((stored.pixels[..., bands] > 0).any(-1), alpha)
