"""The cost of decoding a JPEG, by its segments."""

from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError

MOST_SCANS, USUAL_SCANS = 100, 15
MOST_SCANNED = 2_000_000_000  # pixels of all scans together, beyond the usual number of scans
_START_OF_SCAN = 0xDA
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENT_BYTES = 2


def pixel_bytes(file: File, content: bytes, bands: int, pixels: int) -> int:
    """The bytes that decoding takes for each pixel.

    A decoder keeps the coefficients of the whole image where there are several scans.

    Args:
        file: What the error names.
        content: The file, or a strip or tile of a TIFF.
        bands: Of the image.
        pixels: Of the image, its height times its width.

    Raises:
        UserError: There are too many scans, each of which goes over all coefficients.
    """
    first, is_progressive = _first_scan(content)
    scans = content.count(b"\xff\xda", first)
    most = min(MOST_SCANS, max(MOST_SCANNED // max(pixels, 1), USUAL_SCANS))
    if scans > most:
        raise UserError(f"{file}: has {scans} scans; the most that are read of its size is {most}")
    several = is_progressive or scans > 1
    return bands * (1 + _COEFFICIENT_BYTES if several else 1)


def _first_scan(content: bytes) -> tuple[int, bool]:
    """Finds the start of the first scan, and whether a frame header before it is progressive.

    Segments before it may hold other JPEGs, as thumbnails are.
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
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        at += 1 if alone else 2 + max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
    return at, is_progressive
