"""Small DICOM files of many encodings, and mutations of their elements."""

import io
import struct
import sys
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.mutations import BYTES, INTEGERS
from tests.fuzz.target import Mutate

sys.path.append(str(Path(__file__).parents[1] / "helpers"))  # files shared with other tests

_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT"}
_SHORT |= {b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
_TYPES = sorted(_LONG | _SHORT)
_ITEM, _UNDEFINED = b"\xfe\xff\x00\xe0", b"\xff\xff\xff\xff"
_VALUES = (b"", b"nan ", b"inf ", b"-1", b"1e308 ", b"1\\2\\3\\4 ", b"abc ", b"\\\\ ", b"0 ")
_VALUES += (b"9" * 400, b"1.5 ", b"99999999999 ", b"\xff\xfe", b"\0\0", b"1\\nan ")
_VALUES += tuple((_ITEM + _UNDEFINED) * count for count in (1, 50, 2000))
# The tags that are read, those of sequences, and those of items and their ends.
_TAGS = [
    struct.pack("<HH", group, element)
    for group, elements in {
        0x0002: (0x0000, 0x0002, 0x0010),
        0x0008: (0x0005, 0x0016, 0x103E),
        0x0018: (0x0050, 0x0088, 0x1164),
        0x0020: (0x000E, 0x0032, 0x0037),
        0x0028: (2, 4, 8, 0x10, 0x11, 0x30, 0x100, 0x101, 0x103, 0x1052, 0x1053, 0x3000, 0x3002),
        0x5200: (0x9229, 0x9230),
        0x7FE0: (0x0001, 0x0002, 0x0008, 0x0010),
        0xFFFE: (0xE000, 0xE00D, 0xE0DD),
    }.items()
    for element in elements
]
_SEQUENCES = (b"\x00\x52\x30\x92", b"\x28\x00\x00\x30", b"\x09\x00\x10\x10")


def make(folder: Path) -> list[Path]:
    """Write a file of each encoding, and a series of three; return all paths."""
    made = []
    for name, content in _files().items():
        made.append(folder / f"{name}.dcm")
        made[-1].write_bytes(content)
    (folder / "series").mkdir()
    for place in range(3):
        made.append(folder / "series" / f"{place}.dcm")
        made[-1].write_bytes(_file(_image(ImagePositionPatient=["1", "2", str(2.5 * place)])))
    return made


def _image(stored: Any = None, **tags: Any) -> Any:
    import dicom_files

    if stored is None:
        stored = np.random.default_rng(1).integers(0, 200, (8, 9)).astype(np.int16)
    about = {
        "SeriesInstanceUID": "1.2.3",
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "ImagePositionPatient": ["1", "2", "3"],
        "PixelSpacing": ["0.8", "0.5"],
        "SliceThickness": "2.5",
        "RescaleSlope": "2",
        "RescaleIntercept": "-5",
    }
    return dicom_files.image_of(stored, **{**about, **tags})


def _file(data: Any, syntax: str | None = None) -> bytes:
    if syntax is not None:
        data.file_meta.TransferSyntaxUID = syntax
    content = io.BytesIO()
    data.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _files() -> dict[str, bytes]:
    from pydicom import uid

    bits = _image(np.zeros((8, 9), np.uint8), PixelData=b"\x55" * 10)
    bits.BitsAllocated = bits.BitsStored = 1
    floats = _image(BitsAllocated=32, FloatPixelData=np.arange(72, dtype=np.float32).tobytes())
    del floats.PixelData
    packed, many_packed = _image(), _many()
    packed.compress(uid.RLELossless)
    many_packed.compress(uid.RLELossless)
    undefined = _many()
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        undefined[name].is_undefined_length = True
    table = _item(LUTDescriptor=[4, 0, 16])
    table.add_new("LUTData", "US", [1, 2, 3, 900])
    stored = np.array([[3, 0, 1]], np.uint16)
    return {
        "plain": _file(_image()),
        "deflated": _file(_image(), uid.DeflatedExplicitVRLittleEndian),
        "implicit": _file(_image(), uid.ImplicitVRLittleEndian),
        "big": _file(_image(), uid.ExplicitVRBigEndian),
        "rle": _file(packed),
        "many": _file(_many()),
        "many_rle": _file(many_packed),
        "many_deflated": _file(undefined, uid.DeflatedExplicitVRLittleEndian),
        "jpeg": _file(_encoded("JPEG"), uid.JPEGBaseline8Bit),
        "jpeg2000": _file(_encoded("JPEG2000", no_jp2=True), uid.JPEG2000Lossless),
        "table": _file(
            _image(stored, ModalityLUTSequence=[table], PhotometricInterpretation="MONOCHROME1")
        ),
        "bits": _file(bits),
        "floats": _file(floats),
    }


def _item(**tags: Any) -> Any:
    from pydicom import Dataset

    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return item


def _many() -> Any:
    """Return a file of four frames, with shared and per-frame groups."""
    data = _image(np.random.default_rng(2).integers(0, 9, (4, 8, 9)).astype(np.uint8))
    measures = _item(PixelSpacing=["1", "1"], SliceThickness="2")
    orientation = _item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])
    data.SharedFunctionalGroupsSequence = [
        _item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[measures])
    ]
    data.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=["0", "0", str(place)])],
            PixelValueTransformationSequence=[_item(RescaleSlope="1", RescaleIntercept="0")],
        )
        for place in range(4)
    ]
    return data


def _encoded(kind: str, **options: Any) -> Any:
    from PIL import Image
    from pydicom.encaps import encapsulate

    pixels = np.random.default_rng(3).integers(0, 255, (8, 9)).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    data = _image(pixels, PixelData=encapsulate([content.getvalue()]))
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return data


def _in_elements(mutate: Mutate) -> Mutate:
    """Mutate the elements of a file, before compression if it is deflated."""

    def mutate_file(rng: Random, content: bytes) -> bytes:
        if (start := _start(content)) is None:
            return mutate(rng, content)
        try:
            inside = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:])
        except zlib.error:
            return mutate(rng, content)
        engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return content[:start] + engine.compress(mutate(rng, inside)) + engine.flush()

    mutate_file.__name__ = mutate.__name__
    return mutate_file


def _start(content: bytes) -> int | None:
    """Return the offset of a deflated file's elements; None if it is not deflated."""
    if _DEFLATED.encode() not in content[:400] or len(content) < 144:
        return None
    # The file meta group starts with its length.
    return 144 + int.from_bytes(content[140:144], "little")


def _element(rng: Random, content: bytes) -> int:
    """Return the offset of a randomly drawn element; -1 if the file lacks it."""
    return content.find(rng.choice(_TAGS), rng.choice((0, 0, 0, rng.randrange(len(content) + 1))))


def _put(content: bytes, at: int, new: bytes, length: int) -> bytes:
    return content if at < 0 else content[:at] + new + content[at + length :]


def set_type(rng: Random, content: bytes) -> bytes:
    """Give an element another type (VR), of the same bytes."""
    at = _element(rng, content)
    return _put(content, at + 4 if at >= 0 else -1, rng.choice((*_TYPES, b"ZZ", b"\0\0")), 2)


def set_length(rng: Random, content: bytes) -> bytes:
    """Set the length of an element, of 16 or of 32 bits."""
    at, size = _element(rng, content), rng.choice((2, 4))
    value = (rng.choice(INTEGERS) % 256**size).to_bytes(size, "little")
    return _put(content, at + rng.choice((6, 8)) if at >= 0 else -1, value, size)


def set_value(rng: Random, content: bytes) -> bytes:
    """Replace the value of an element, and often its type."""
    at = _element(rng, content)
    number = rng.choice(INTEGERS).to_bytes(8, "little")
    value = rng.choice((*_VALUES, number[:2], number[:4], number, struct.pack("<d", float("nan"))))
    kind = rng.choice((content[at + 4 : at + 6], rng.choice(_TYPES)))
    size, filling = ("I", b"\0\0") if kind in _LONG else ("H", b"")
    packed = struct.pack(f"<{size}", len(value) % 65536 if size == "H" else len(value))
    length = 8 + int.from_bytes(content[at + 6 : at + 8], "little")
    return _put(content, at, content[at : at + 4] + kind + filling + packed + value, length)


def nest(rng: Random, content: bytes) -> bytes:
    """Begin sequences within sequences before an element."""
    begin = rng.choice(_SEQUENCES) + b"SQ\0\0" + _UNDEFINED + _ITEM + _UNDEFINED
    return _put(content, _element(rng, content), begin * rng.choice((10, 500, 3000)), 0)


def remove(rng: Random, content: bytes) -> bytes:
    """Remove the beginning of an element, or more."""
    return _put(content, _element(rng, content), b"", rng.randrange(40))


MUTATORS = (
    *map(_in_elements, (set_type, set_length, set_value, set_value, nest, remove, *BYTES)),
    *BYTES,
)
