"""Reading of masks that files of annotations hold as a PNG in base64."""

import base64
from typing import NamedTuple

import numpy as np

from fcnjax.data.readers.decode import read_image_header, read_stored_pixels
from fcnjax.data.readers.formats import png
from fcnjax.data.readers.image_file import Encoded
from fcnjax.errors import UserError

_NAME = "the mask"


class Embedded(NamedTuple):
    """The pixels of an embedded mask.

    Attributes:
        coloured: `[H, W]` bool, true where not black; for a palette, where the index is not 0.
        alpha: `[H, W]` of any unsigned type; None without transparency.
    """

    coloured: np.ndarray
    alpha: np.ndarray | None


def from_base64(text: object) -> bytes:
    """Decode a text in base64.

    Raises:
        ValueError: It is not such a text.
    """
    if not isinstance(text, str):
        raise ValueError("it is not a text in base64")
    return base64.b64decode(text)


def read_embedded(content: bytes, max_size: tuple[int, int]) -> Embedded:
    """Read a PNG.

    Args:
        content: The PNG.
        max_size: Largest height and width.

    Raises:
        ValueError: The content is not a PNG, is damaged, or larger; the header is checked first.
    """
    if not content.startswith(png.MAGIC):
        raise ValueError("it is not a PNG")
    file = Encoded(content, _NAME, "")
    try:
        header = read_image_header(file)
        if header.height > max_size[0] or header.width > max_size[1]:
            raise ValueError(
                f"it is {header.width}x{header.height} pixels, and may have "
                f"{max_size[1]}x{max_size[0]}"
            )
        stored = read_stored_pixels(file)
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{_NAME}: ")) from error
    roles = stored.colorinterp
    bands = [band for band, role in enumerate(roles) if role != "alpha"]
    alpha = stored.pixels[..., roles.index("alpha")] if "alpha" in roles else None
    return Embedded((stored.pixels[..., bands] > 0).any(-1), alpha)
