"""Check of MP4 and QuickTime files before FFmpeg allocates memory for their samples.

A box of a few bytes can claim any number of samples of one size, and FFmpeg allocates about 24
bytes for each.
"""

from collections.abc import Iterator
from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular

MAX_BOXES = 200_000
_BOXES_WITHOUT_TABLES = (b"mdat", b"free", b"skip", b"wide", b"ftyp")
_MAX_TABLE_BYTES = 2**28
_COUNT_OFFSETS = {b"stsz": 12, b"trun": 8}  # from the name of a box to its number of samples


def check_sample_counts(path: str | Path) -> None:
    """Raise UserError if an MP4 or QuickTime file claims more samples than it has bytes.

    Files of other formats have no such boxes and pass.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
    samples = 0
    for number, content in enumerate(_boxes(path, size)):
        if number >= MAX_BOXES or b"cmov" in content:
            raise UserError(f"{path}: has a compressed header, or more than {MAX_BOXES} boxes")
        for name, offset in _COUNT_OFFSETS.items():
            position = content.find(name)
            while position >= 0:
                count = content[position + offset : position + offset + 4]
                samples += int.from_bytes(count, "big")
                position = content.find(name, position + 4)
        if samples > 4 * size:  # compressed audio counts its decoded samples
            raise UserError(f"{path}: is damaged: claims {samples} samples in {size} bytes")


def _boxes(path: str | Path, size: int) -> Iterator[bytes]:
    """Yield the content of each top-level box, empty for boxes without tables."""
    position = 0
    with open_regular(path) as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, name = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if not name.isalnum() or 0 < length < 8:
                return
            length = min(length or size, size - position)
            if name in _BOXES_WITHOUT_TABLES or length > _MAX_TABLE_BYTES:
                yield b""
            else:
                file.seek(position)
                yield file.read(length)
            position += length
