"""How large an image may be: a header may claim anything, and memory is taken by what it claims."""

import os

from fcnjax.errors import UserError

VARIABLE = "FCNJAX_MAX_PIXELS"
MOST_PIXELS = 500_000_000


class TooLarge(UserError):
    """An image that is not to be decoded."""


def most_pixels() -> int:
    """The most pixels that an image, or a window of a raster, may have.

    Raises:
        UserError: The environment variable is no whole number above 0.
    """
    text = os.environ.get(VARIABLE) or str(MOST_PIXELS)
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise UserError(f"{VARIABLE}: {text!r} is not a whole number above 0")
    return int(text)


def refuse_large(name: object, height: int, width: int) -> None:
    """Raises `TooLarge` where an image of this many pixels is not to be decoded.

    Args:
        name: What the error calls it.
        height: By its header, pixels.
        width: By its header, pixels.
    """
    if height * width > (most := most_pixels()):
        raise TooLarge(
            f"{name}: is {width}x{height}, {height * width} pixels, and the limit is {most}; the "
            f"environment variable {VARIABLE}={height * width} raises it"
        )
