"""How large an image may be: a header may claim anything, and memory is taken by what it claims."""

import os

from fcnjax.errors import UserError

VARIABLE = "FCNJAX_MAX_PIXELS"
MOST_PIXELS = 500_000_000
# Four bands of 16 bits, eight of 8 bits: an image of the most pixels may take 4 GB.
BYTES_PER_PIXEL = 8


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


def refuse_large(
    name: object, height: int, width: int, pixel_bytes: int = 0, most: int | None = None
) -> None:
    """Raises `TooLarge` where an image of this size is not to be decoded.

    Args:
        name: What the error calls it.
        height: By its header, pixels.
        width: By its header, pixels.
        pixel_bytes: The bytes that the bands of a pixel take, where they may be many.
        most: The limit in pixels; None: `most_pixels()`.
    """
    most = most_pixels() if most is None else most
    if (pixels := height * width) > most:
        raise TooLarge(
            f"{name}: is {width}x{height}, {pixels} pixels, and the limit is {most}; the "
            f"environment variable {VARIABLE}={pixels} raises it"
        )
    if (size := pixels * pixel_bytes) > most * BYTES_PER_PIXEL:
        needed = -(-size // BYTES_PER_PIXEL)
        raise TooLarge(
            f"{name}: is {width}x{height} pixels of {pixel_bytes} bytes, {size} bytes, and the "
            f"limit is {most * BYTES_PER_PIXEL}; the environment variable {VARIABLE}={needed} "
            "raises it"
        )
