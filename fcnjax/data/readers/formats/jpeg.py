"""The memory and time that decoding a JPEG takes, estimated from its segments."""

from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError

MAX_SCANS, TYPICAL_SCANS = 100, 15
MAX_SCANNED = 2_000_000_000  # pixels of all scans together, beyond the typical number of scans
_START_OF_SCAN = 0xDA
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENT_BYTES = 2


def pixel_bytes(file: File, content: bytes, bands: int, pixels: int) -> int:
    """Return the bytes that decoding takes for each pixel.

    A decoder keeps the coefficients of the whole image if there are several scans.

    Args:
        file: The file, for the error.
        content: The file, or a strip or tile of a TIFF.
        bands: Bands of the image.
        pixels: Height times width of the image.

    Raises:
        UserError: There are too many scans; each goes over all coefficients.
    """
    first, is_progressive = _first_scan(content)
    scans = content.count(b"\xff\xda", first)
    limit = min(MAX_SCANS, max(MAX_SCANNED // max(pixels, 1), TYPICAL_SCANS))
    if scans > limit:
        raise UserError(f"{file}: has {scans} scans; the limit for an image of its size is {limit}")
    several = is_progressive or scans > 1
    return bands * (1 + _COEFFICIENT_BYTES if several else 1)


def _first_scan(content: bytes) -> tuple[int, bool]:
    """Return the offset of the first scan, and whether a frame header before it is progressive.

    Segments before it may contain other JPEGs, such as thumbnails.
    """
    at, is_progressive = 2, False
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        if marker == _START_OF_SCAN:
            break
        is_progressive |= marker in _PROGRESSIVE
        # Fill bytes, stuffed zeros and markers without a length.
        has_no_length = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        length = 2 + max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
        at += 1 if has_no_length else length
    return at, is_progressive
