"""Mutations of the fields of image formats, with corrected checksums."""

import struct
import zlib
from random import Random

from tests.fuzz.mutations import INTEGERS, flip_bits, set_integer

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"zTXt", b"iTXt", b"iCCP", b"acTL")
_BOMB = b"a\0\0" + zlib.compress(bytes(2**24), 9)  # a keyword, the method, and 16 MB of text
_MARKERS = (
    0xC0,
    0xC1,
    0xC2,
    0xC4,
    0xC9,
    0xCC,
    0xD8,
    0xD9,
    0xDA,
    0xDB,
    0xDD,
    0xE0,
    0xE1,
    0xE2,
    0xFE,
)
_TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324)
_TAGS += (325, 330, 338, 339, 347, 32997, 33550, 33922, 34735, 42112, 42113, 50674, 270, 305)
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 33003, 34712, 34887, 34892, 34925, 34933, 48124)
_COMPRESSIONS += (50000, 50001, 50002, 50013, 65000)
_SMALL = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 31, 32, 64, 65535)


def mutate_image(rng: Random, content: bytes) -> bytes:
    """Change a field of a PNG, JPEG or TIFF, or a number in another file."""
    if content.startswith(_PNG):
        return _mutate_png(rng, content)
    if content.startswith(b"\xff\xd8"):
        return _mutate_jpeg(rng, content)
    if content.startswith(_TIFF):
        return _mutate_tiff(rng, content)
    return set_integer(rng, content)


def _mutate_png(rng: Random, content: bytes) -> bytes:
    chunks, at = [], len(_PNG)
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return set_integer(rng, content)
    number = rng.randrange(len(chunks))
    kind, data = chunks[number]
    action = rng.choice(("header", "header", "data", "insert", "delete", "repeat", "pixels"))
    if action == "header" and len(chunks[0][1]) == 13:
        fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
        field = rng.choice((0, 1, 2, 3, 6))
        fields[field] = rng.choice(INTEGERS) % 2**32 if field < 2 else rng.choice(_SMALL) % 256
        chunks[0] = (chunks[0][0], struct.pack(">IIBBBBB", *fields))
    elif action == "data":
        chunks[number] = (kind, rng.choice((flip_bits, set_integer))(rng, data))
    elif action == "insert":
        chunks.insert(number, (rng.choice(_CHUNKS), rng.choice((_BOMB, b"", bytes(26), data))))
    elif action == "delete":
        del chunks[number]
    elif action == "repeat":
        chunks[number:number] = [chunks[number]] * rng.choice((1, 200))
    else:
        pixels = zlib.compress(bytes(rng.choice((0, 1, 1000, 2**22))), 9)
        chunks = [(k, pixels if k == b"IDAT" else d) for k, d in chunks]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return _PNG + b"".join(parts)


def _mutate_jpeg(rng: Random, content: bytes) -> bytes:
    starts, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        starts.append(at)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if not starts:
        return set_integer(rng, content)
    changed = bytearray(content)
    start = rng.choice(starts)
    size = int.from_bytes(content[start + 2 : start + 4], "big")
    segment = content[start : start + 2 + size]
    action = rng.choice(("marker", "field", "field", "size", "repeat", "delete"))
    if action == "marker":
        changed[start + 1] = rng.choice(_MARKERS)
    elif action == "field":
        place = start + 4 + rng.randrange(max(min(size - 2, 20), 1))
        changed[place : place + 1] = bytes([rng.choice((0, 1, 2, 3, 4, 17, 34, 63, 64, 255))])
    elif action == "size":
        changed[start + 2 : start + 4] = struct.pack(">H", rng.choice((0, 1, 2, 3, 255, 65535)))
    elif action == "repeat":
        changed[start:start] = segment * rng.choice((1, 3, 300))
    else:
        del changed[start : start + 2 + size]
    return bytes(changed)


def _mutate_tiff(rng: Random, content: bytes) -> bytes:
    """Change a tag of a classic TIFF, the number of tags, or the offset of the next directory."""
    order = "<" if content[:1] == b"I" else ">"
    try:
        at = struct.unpack_from(order + "I", content, 4)[0]
        count = struct.unpack_from(order + "H", content, at)[0]
        entries = [at + 2 + 12 * i for i in range(count)]
        changed = bytearray(content)
        entry = rng.choice(entries)
        code, kind, values, value = struct.unpack_from(order + "HHII", content, entry)
        action = rng.choice(("value", "value", "value", "kind", "count", "code", "next", "array"))
        if action == "value" and code == 259:
            value = rng.choice(_COMPRESSIONS)
        elif action == "value":
            value = rng.choice((*_SMALL, *INTEGERS, at, len(content))) % 2**32
        elif action == "kind":
            kind = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 18, 200))
        elif action == "count":
            values = rng.choice((*_SMALL, *INTEGERS)) % 2**32
        elif action == "code":
            code = rng.choice(_TAGS)
        elif action == "next":
            place = rng.choice((at, 8, len(content) - 2, 2**32 - 1, at + 1))
            struct.pack_into(order + "I", changed, at + 2 + 12 * count, place)
        elif value + 4 <= len(content):
            struct.pack_into(order + "I", changed, value, rng.choice(INTEGERS) % 2**32)
        if kind == 3 and values == 1 and action == "value":
            struct.pack_into(order + "HHIHH", changed, entry, code, kind, values, value % 65536, 0)
        else:
            struct.pack_into(order + "HHII", changed, entry, code, kind, values, value)
        return bytes(changed)
    except (struct.error, IndexError):
        return set_integer(rng, content)
