"""Check of the directories (IFDs) of a TIFF before tifffile parses them.

tifffile takes microseconds for each tag, and makes a Python object of each number in some tags.
Directories may overlap and share values, so that a file of kilobytes can list gigabytes of both.
"""

import struct
from typing import BinaryIO, NamedTuple

from fcnjax.data.readers.image_file import File
from fcnjax.errors import UserError

MAX_PAGES = 10_000
MAX_TAGS = 200_000  # of all pages
_MAX_SHARED = 2**20  # bytes of values beyond the size of the file
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}


class _Layout(NamedTuple):
    """The `struct` formats of a number of tags, of a tag without its value, and of an offset."""

    count: str
    tag: str
    offset: str


_CLASSIC, _BIG = _Layout("H", "HHI", "I"), _Layout("Q", "HHQ", "Q")


def refuse_directories(file: File, source: BinaryIO) -> None:
    """Raise UserError if the directories of a TIFF list more than a file of its size can hold.

    tifffile reports damage. The position in the source is kept.

    Args:
        file: The file, for errors.
        source: The open file.
    """
    start = source.tell()
    size = source.seek(0, 2)
    source.seek(0)
    head = source.read(16)
    order = "<" if head[:1] == b"I" else ">"
    layout = _BIG if head[2:4] in (b"+\0", b"\0+") else _CLASSIC
    at = 8 if layout is _BIG else 4
    pages = tags = values = 0
    try:
        offset = struct.unpack_from(order + layout.offset, head, at)[0]
        visited: set[int] = set()
        while offset and offset not in visited:
            visited.add(offset)
            pages += 1
            if pages > MAX_PAGES:
                raise UserError(f"{file}: has more than {MAX_PAGES} pages, the limit")
            source.seek(offset)
            count, loaded, offset = _directory(source, order, layout)
            tags += count
            values += loaded
            if tags > MAX_TAGS or values > size + _MAX_SHARED:
                raise UserError(
                    f"{file}: has {tags} tags with {values} bytes of values in {pages} pages; "
                    f"valid: up to {MAX_TAGS} tags, and no more bytes than the file"
                )
    except (struct.error, OverflowError, OSError):
        pass
    finally:
        source.seek(start)


def _directory(source: BinaryIO, order: str, layout: _Layout) -> tuple[int, int, int]:
    """Return the number of tags, the bytes that tifffile loads, and the next directory."""
    import tifffile

    offset_bytes = struct.calcsize(layout.offset)
    tag_bytes = struct.calcsize("<" + layout.tag) + offset_bytes
    count = struct.unpack(order + layout.count, source.read(struct.calcsize(layout.count)))[0]
    if count > 4096:  # tifffile treats it as damage
        raise struct.error
    content = source.read(count * tag_bytes + offset_bytes)
    loaded = 0
    for number in range(count):
        code, kind, values = struct.unpack_from(order + layout.tag, content, number * tag_bytes)
        if code in tifffile.TIFF.TAG_LOAD:
            loaded += values * _TYPE_BYTES.get(kind, 8)
    following = struct.unpack_from(order + layout.offset, content, count * tag_bytes)[0]
    return count, loaded, following
