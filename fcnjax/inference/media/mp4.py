"""Check of the boxes of an MP4 or QuickTime file before FFmpeg takes memory for their samples.

A box of a few bytes can claim any number of samples of one size, and FFmpeg keeps some 24 bytes of
each.
"""

from collections.abc import Iterator
from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.io.regular_files import open_regular

MOST_BOXES = 200_000
_HOLD_NO_TABLES = (b"mdat", b"free", b"skip", b"wide", b"ftyp")
_LARGEST = 2**28  # bytes of a box of tables
_COUNTS = {b"stsz": 12, b"trun": 8}  # from the name of the box to its number of samples


def refuse_samples(path: str | Path) -> None:
    """Raises UserError where an MP4 or QuickTime file claims more samples than it has bytes.

    A file of another format has no such boxes.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
    samples = 0
    for number, content in enumerate(_boxes(path, size)):
        if number >= MOST_BOXES or b"cmov" in content:
            raise UserError(f"{path}: has a compressed header, or more than {MOST_BOXES} boxes")
        for name, offset in _COUNTS.items():
            at = content.find(name)
            while at >= 0:
                samples += int.from_bytes(content[at + offset : at + offset + 4], "big")
                at = content.find(name, at + 4)
        if samples > 4 * size:  # compressed sound counts its decoded samples
            raise UserError(f"{path}: is damaged: claims {samples} samples in {size} bytes")


def _boxes(path: str | Path, size: int) -> Iterator[bytes]:
    """The contents of the outermost boxes, empty where they hold no tables."""
    at = 0
    with open_regular(path) as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, name = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if not name.isalnum() or 0 < length < 8:
                return
            length = min(length or size, size - at)
            if name in _HOLD_NO_TABLES or length > _LARGEST:
                yield b""
            else:
                file.seek(at)
                yield file.read(length)
            at += length
