"""Hostile DICOM files give a one-line error and take little memory."""

import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

from dicom_files import AXIAL, image_of, numbers, save, write_series  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402

from fcnjax.data.readers import limits  # noqa: E402
from fcnjax.data.readers.formats.codestreams import codestream_size  # noqa: E402
from fcnjax.data.readers.volumes import dicom_elements, dicom_pixels  # noqa: E402
from fcnjax.data.readers.volumes.read import open_volume  # noqa: E402
from fcnjax.errors import UserError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
STORED = np.random.default_rng(0).integers(0, 250, (8, 9)).astype(np.int16)
ITEM, UNDEFINED = b"\xfe\xff\x00\xe0", b"\xff\xff\xff\xff"
PIXELS = b"\xe0\x7f\x10\x00"


def assert_error(source, *words):
    with pytest.raises(UserError) as raised:
        open_volume(source)
    for word in (str(source), *words):
        assert str(word) in str(raised.value)


def content_of(data, syntax=None):
    data.file_meta.TransferSyntaxUID = syntax or data.file_meta.TransferSyntaxUID
    content = io.BytesIO()
    data.save_as(content, enforce_file_format=True)
    return content.getvalue()


def element(group, number, kind, value):
    filling = b"\0\0" if kind in (b"OB", b"OW", b"SQ", b"UN", b"UT") else b""
    length = struct.pack("<I" if filling else "<H", len(value))
    return struct.pack("<HH", group, number) + kind + filling + length + value


def with_element(content, group, number, kind, value):
    """Return a file with an element replaced, or added before its pixels."""
    at = content.find(struct.pack("<HH", group, number), 132)
    length = 8 + struct.unpack_from("<H", content, at + 6)[0] if at >= 0 else 0
    at = at if at >= 0 else content.index(PIXELS)
    return content[:at] + element(group, number, kind, value) + content[at + length :]


def plain(**tags):
    tags = {"PixelSpacing": numbers((0.8, 0.5)), "SeriesInstanceUID": "1.2", **tags}
    place = {
        "ImageOrientationPatient": numbers(AXIAL),
        "ImagePositionPatient": numbers((1, 2, 3)),
    }
    return image_of(STORED, **{**place, **tags})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((0x28, 0x10, b"US", b"\1\0\2\0"), "Rows is '[1, 2]'; valid: a whole number from 0 to"),
        ((0x28, 0x10, b"DS", b"8.5 "), "Rows is '8.5'"),
        ((0x28, 0x10, b"DS", b"eight "), "Rows is 'eight'"),
        ((0x28, 0x10, b"LO", b"8 "), "Rows is '8'"),
        ((0x28, 0x10, b"OB", b"\1\2"), "Rows is"),
        ((0x28, 0x10, b"SQ", ITEM + UNDEFINED), "Rows is a sequence"),
        ((0x28, 0x10, b"SQ", ITEM + b"\0\0\0\0"), "Rows is a sequence"),
        ((0x28, 0x10, b"UL", b"\0\0\1\0"), "Rows is '65536'"),
        ((0x28, 0x10, b"US", b"\1"), "cannot be read as DICOM"),
        ((0x28, 0x10, b"IS", b"9" * 600), "Rows is 'inf'"),
        ((0x28, 0x100, b"US", b"\7\0"), "BitsAllocated is 7; valid: 1, 8, 16, 32, 64"),
        ((0x28, 0x100, b"US", b"\x40\0"), "BitsAllocated is 64; valid of PixelData: 1, 8, 16, 32"),
        ((0x28, 0x101, b"US", b"\x11\0"), "BitsStored is '17'; valid: a whole number from 1 to 16"),
        ((0x28, 0x103, b"US", b""), "has no PixelRepresentation; valid: 0 or 1"),
        ((0x28, 0x103, b"SS", b"\xff\xff"), "PixelRepresentation is '-1'"),
        ((0x28, 2, b"US", b"\3\0"), "is a colour image (MONOCHROME2); volumes are grey"),
        ((0x28, 4, b"US", b"\3\0"), "PhotometricInterpretation is '3'; valid: a text"),
        ((0x28, 8, b"IS", b"-1"), "NumberOfFrames is '-1'"),
        ((0x28, 0x30, b"DS", b"1\\nan "), "PixelSpacing is '[1, nan]'; valid: 2 numbers"),
        ((0x28, 0x30, b"DS", b"1 "), "PixelSpacing is '1"),
        ((0x28, 0x30, b"DS", b"0\\1 "), "PixelSpacing is (0.0, 1.0); valid: two numbers of at"),
        ((0x28, 0x30, b"UI", b"1.2\\1.3 "), "PixelSpacing is"),
        ((0x20, 0x32, b"DS", b"1\\2\\1e300 "), "ImagePositionPatient is"),
        ((0x20, 0x37, b"DS", b"0\\0\\0\\0\\0\\0 "), "ImageOrientationPatient is"),
        ((0x20, 0x37, b"DS", b"1\\0\\0\\1\\0\\0 "), "valid: two directions at right angles"),
        ((0x28, 0x1053, b"DS", b"inf "), "RescaleSlope is"),
        ((0x28, 0x1053, b"DS", b"1\\2 "), "RescaleSlope is '[1, 2]'; valid: 1 number"),
        ((0x28, 0x1052, b"FD", struct.pack("<d", 1e300)), "RescaleIntercept is '1e+300'"),
        ((0x18, 0x88, b"IS", b"9" * 400), "SpacingBetweenSlices is"),
        ((0x28, 0x3000, b"LO", b"text"), "ModalityLUTSequence is 'text'; valid: a sequence"),
        ((0x28, 0x1053, b"DS", b"1\\" * 3000), "RescaleSlope has 6000 bytes; valid: at most 1024"),
        ((0x5200, 0x9230, b"OB", b"ab"), "PerFrameFunctionalGroupsSequence is"),
        ((0x02, 0x10, b"US", b"\1\0"), "TransferSyntaxUID is '1'; valid: a text"),
        ((0x02, 0x10, b"UI", b"1.2.3\0"), "has no transfer syntax of DICOM"),
    ],
)
def test_value_of_wrong_type_gives_one_line_error(tmp_path, change, words):
    content = with_element(content_of(plain()), *change)
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert_error(path, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"LUTDescriptor": [4, 0]}, "LUTDescriptor is '[4, 0]'; valid: 3 numbers"),
        ({"LUTDescriptor": [4, 0, 12]}, "LUTDescriptor has 12 bits; valid: 8, 16"),
        ({"LUTDescriptor": [0, 0, 16]}, "LUTData has 4 values, and LUTDescriptor 65536"),
        ({"LUTDescriptor": [4, 0, 8]}, "LUTData holds values of more than 8 bits"),
        ({"LUTDescriptor": None}, "has no LUTDescriptor of 3 whole numbers"),
        ({"LUTData": None}, "LUTData holds no whole numbers"),
    ],
)
def test_damaged_lookup_tables_are_refused(tmp_path, change, words):
    table = pydicom.Dataset()
    for name, value in {"LUTDescriptor": [4, 0, 16], "LUTData": [1, 3, 2, 900], **change}.items():
        table.add_new(name, "US", value)
    assert_error(save(tmp_path / "a.dcm", plain(ModalityLUTSequence=[table])), words)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("kind", ["US", "OW"])
def test_lookup_tables_are_applied_as_pydicom_does(tmp_path, syntax, kind):
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "SS", [5, 30, 16])
    values = [7, 70, 700, 7000, 9]
    table.add_new("LUTData", kind, np.array(values, "<u2").tobytes() if kind == "OW" else values)
    data = plain(ModalityLUTSequence=[table])
    (tmp_path / "a.dcm").write_bytes(content_of(data, syntax))
    expected = np.asarray(values)[np.clip(STORED - 30, 0, 4)]
    found = np.asarray(open_volume(tmp_path / "a.dcm").dataobj)[..., 0].T
    np.testing.assert_array_equal(found, expected)


def test_undecodable_text_does_not_refuse_the_image(tmp_path):
    for kind, value in ((b"LO", b"\xff\xfe\x1b[2Jx"), (b"US", b"\1\0"), (b"LO", b"a" * 2000)):
        content = with_element(content_of(plain()), 0x08, 0x103E, kind, value)
        path = tmp_path / "a.dcm"
        path.write_bytes(content)
        assert open_volume(path).shape == (9, 8, 1)


def nested(depth, tag=b"\x00\x52\x30\x92"):
    return (tag + b"SQ\0\0" + UNDEFINED + ITEM + UNDEFINED) * depth


@pytest.mark.parametrize("tag", [b"\x00\x52\x30\x92", b"\x09\x00\x10\x10"], ids=["read", "private"])
def test_deeply_nested_sequences(tmp_path, tag):
    content = content_of(plain())
    at = content.index(b"\x28\x00\x02\x00")
    path = tmp_path / "a.dcm"
    path.write_bytes(content[:at] + nested(5000, tag) + content[at:])
    assert_error(path, "cannot be read as DICOM: ")
    # With a stated length it is converted on access.
    inner = b""
    for _ in range(1500):
        item = ITEM + struct.pack("<I", len(inner)) + inner
        inner = tag + b"SQ\0\0" + struct.pack("<I", len(item)) + item
    path.write_bytes(content[:at] + inner + content[at:])
    assert open_volume(path).shape == (9, 8, 1)


def test_number_of_elements_and_items_is_limited(tmp_path, monkeypatch):
    content, path = content_of(plain()), tmp_path / "a.dcm"
    at = content.index(PIXELS)
    groups = (ITEM + b"\0\0\0\0") * 900
    path.write_bytes(content[:at] + element(0x5200, 0x9230, b"SQ", groups) + content[at:])
    assert open_volume(path).shape == (9, 8, 1)
    monkeypatch.setattr(dicom_elements, "MAX_ITEMS", 800)
    os.utime(path, (1, 1))
    assert_error(path, "a.dcm: PerFrameFunctionalGroupsSequence has more than 800 items")
    path.write_bytes(content[:at] + element(0x28, 0x3000, b"SQ", bytes(2**20 + 2)) + content[at:])
    assert_error(path, "ModalityLUTSequence has 1048578 bytes; valid: at most 1048576")
    monkeypatch.setattr(dicom_elements, "MAX_READS", 1000)
    small = b"".join(struct.pack("<HH2sH", 9, number, b"LO", 0) for number in range(1200))
    path.write_bytes(content[:at] + small + content[at:])
    assert_error(path, "has too many data elements")


@pytest.mark.parametrize("kind", [b"OB", b"UT", b"OW"])
def test_claimed_length_allocates_no_memory(tmp_path, kind):
    content = content_of(plain())
    at = content.index(b"\x28\x00\x04\x00")
    claim = content[at : at + 4] + kind + b"\0\0" + struct.pack("<I", 2**32 - 2)
    path = tmp_path / "a.dcm"
    path.write_bytes(content[:at] + claim + content[at + 8 :])
    tracemalloc.start()
    assert_error(path, "a.dcm: ")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_deflated_files(tmp_path, monkeypatch):
    stored = np.zeros((3, 200, 200), np.uint8)
    stored[1, 3, 4] = 7
    path = tmp_path / "a.dcm"
    path.write_bytes(content_of(image_of(stored), uid.DeflatedExplicitVRLittleEndian))
    voxels = np.asarray(open_volume(path).dataobj)
    np.testing.assert_array_equal(voxels, stored.transpose(2, 1, 0))
    monkeypatch.setattr(limits, "SMALL_INFLATED_BYTES", 50_000)
    os.utime(path, (1, 1))
    assert_error(
        path,
        "inflates to more than 50000 bytes from",
        "set the environment variable FCNJAX_MAX_PIXELS",
    )
    monkeypatch.setenv("FCNJAX_MAX_PIXELS", "200000")
    assert open_volume(path).shape == (200, 200, 3)
    path.write_bytes(path.read_bytes()[:-8])
    assert_error(path, "a.dcm: was cut off: its deflated elements do not end")


def test_deflate_bomb_is_limited_while_it_is_read(tmp_path):
    content = content_of(plain(), uid.DeflatedExplicitVRLittleEndian)
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    at = 144 + int.from_bytes(content[140:144], "little")
    inside = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[at:])
    parts = [content[:at], engine.compress(inside)]
    parts += [engine.compress(bytes(2**24)) for _ in range(9)]
    path = tmp_path / "a.dcm"
    path.write_bytes(b"".join([*parts, engine.flush()]))
    assert path.stat().st_size < 200_000
    assert_error(path, "inflates to more than 134217728 bytes")


def encoded(pixels, kind, shape=None, frames=(), **options):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    data = image_of(pixels, PixelData=encapsulate([content.getvalue(), *frames]))
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.Rows, data.Columns = shape or pixels.shape
    data.file_meta.TransferSyntaxUID = (
        uid.JPEGBaseline8Bit if kind == "JPEG" else uid.JPEG2000Lossless
    )
    return data


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 98}), ("JPEG2000", {"no_jp2": True}), ("JPEG2000", {"no_jp2": False})],
    ids=["jpeg", "codestream", "jp2"],
)
def test_compressed_image_must_have_the_size_of_its_header(tmp_path, monkeypatch, kind, options):
    pixels = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40).astype(np.uint8)
    pixels = np.sort(pixels, 1)
    voxels = open_volume(save(tmp_path / "a.dcm", encoded(pixels, kind, **options))).dataobj
    off = np.abs(np.asarray(voxels)[..., 0].T - pixels).max()
    assert off <= (8 if kind == "JPEG" else 0)
    other = save(tmp_path / "b.dcm", encoded(pixels, kind, (8, 9), **options))
    assert_error(
        other, "holds a compressed image of 40x30 pixels of 1 values", "header claims 9x8 of 1"
    )
    colour = save(
        tmp_path / "c.dcm", encoded(np.stack([pixels] * 3, -1), kind, (30, 40), **options)
    )
    assert_error(colour, "holds a compressed image of 40x30 pixels of 3 values")
    monkeypatch.setattr(dicom_pixels, "SMALL_PIXELS", 1199)
    monkeypatch.setattr(dicom_pixels, "MAX_PIXELS_PER_BYTE", 1)
    os.utime(tmp_path / "a.dcm", (1, 1))
    assert_error(tmp_path / "a.dcm", "holds an image of 40x30 pixels in", "which is too few")


def test_sizes_of_codestreams():
    def encoded(kind, **options):
        content = io.BytesIO()
        Image.new("L", (40, 30)).save(content, kind, **options)
        return content.getvalue()

    jpeg, bare, boxed = encoded("JPEG"), encoded("JPEG2000", no_jp2=True), encoded("JPEG2000")
    assert {codestream_size(content) for content in (jpeg, bare, boxed)} == {(30, 40, 1)}
    assert codestream_size(jpeg[:2] + b"\xff\xff" + jpeg[2:]) == (30, 40, 1)  # filling
    assert codestream_size(b"\xff\xd8\xff\xf7\0\x0b\x08\0\x05\0\x06\x01") == (5, 6, 1)  # JPEG-LS
    for content in (jpeg[:20], jpeg[:2] + b"\0\0", bare[:20], boxed[:80]):
        assert codestream_size(content) == (0, 0, 0)
    assert codestream_size(b"\x89PNG") is None
    progressive = encoded("JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    assert codestream_size(progressive[:-2] + scan * 150 + progressive[-2:]) == (30, 40, 1)
    assert codestream_size(progressive[:-2] + scan * 200 + progressive[-2:]) == (0, 0, 0)
    # Readers differ in whether they use the size of the box.
    at = boxed.index(b"ihdr") + 4
    assert codestream_size(boxed[:at] + b"\0\0\xff\xff" + boxed[at + 4 :]) == (0, 0, 0)
    assert codestream_size(bare + bare.replace(b"\0\0\0\x28", b"\0\0\x28\0")) == (0, 0, 0)
    many = encoded("JPEG2000", no_jp2=True, tile_size=(16, 16))
    assert codestream_size(many) == (30, 40, 1)
    tiny = many.replace(struct.pack(">2L", 16, 16), struct.pack(">2L", 1, 1))
    assert tiny != many
    assert codestream_size(tiny.replace(b"\0\0\0\x28\0\0\0\x1e", b"\0\0\x0f\0\0\0\0\x1e")) == (
        0,
        0,
        0,
    )


def test_image_of_many_precincts_is_refused(tmp_path):
    # 100 kB took 8.5 GB: a precinct for each pixel, without stored values.
    content = io.BytesIO()
    pixels = np.zeros((600, 600), np.uint8)
    Image.fromarray(pixels).save(content, "JPEG2000", no_jp2=True, num_resolutions=1)
    content = content.getvalue()
    at = content.index(b"\xff\x52")
    style = bytearray(content[at + 4 : at + 14])
    assert codestream_size(content) == (600, 600, 1)

    def with_style(changed, in_tile=False):
        segment = b"\xff\x52" + struct.pack(">H", 2 + len(changed)) + bytes(changed)
        if not in_tile:
            return content[:at] + segment + content[at + 14 :]
        tile = content.index(b"\xff\x90")
        (length,) = struct.unpack_from(">L", content, tile + 6)
        length = struct.pack(">L", length + len(segment) if length else 0)
        begin = content[: tile + 6] + length + content[tile + 10 : tile + 12]
        return begin + segment + content[tile + 12 :]

    for precinct, size in ((0x00, (0, 0, 0)), (0x44, (600, 600, 1)), (0xFF, (600, 600, 1))):
        changed = bytes([style[0] | 1]) + style[1:] + bytes([precinct])
        assert codestream_size(with_style(changed)) == size
        assert codestream_size(with_style(changed, in_tile=True)) == size
    component = struct.pack(">HHBBBBBBBB", 0xFF53, 10, 0, 1, 0, 4, 4, 0, 1, 0)
    assert codestream_size(content[:at] + component + content[at:]) == (0, 0, 0)
    data = image_of(pixels, PixelData=encapsulate([with_style(bytes([1]) + style[1:] + b"\0")]))
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    assert_error(
        save(tmp_path / "a.dcm", data), "a.dcm: holds a compressed image without a clear size"
    )


def test_missing_frames_are_refused(tmp_path):
    data = image_of(np.zeros((3, 8, 9), np.uint8))
    data.compress(uid.RLELossless)
    data.NumberOfFrames = 40_000
    assert_error(save(tmp_path / "many.dcm", data), "its pixels take 40000 bytes or more")
    data.NumberOfFrames = 5
    assert_error(save(tmp_path / "five.dcm", data), "five.dcm: ")
    for name in ("PixelData", "NumberOfFrames"):
        delattr(data, name)
    assert_error(save(tmp_path / "none.dcm", data), "none.dcm: ", "has no pixels")
    frames = image_of(np.zeros((33_000, 1, 1), np.uint8))
    assert_error(
        save(tmp_path / "long.dcm", frames), "has 1x1x33000 voxels; valid: 1 to 32767 along"
    )


def test_limit_applies_to_the_whole_series(tmp_path, monkeypatch):
    write_series(tmp_path, np.zeros((6, 30, 40), np.uint8))
    monkeypatch.setenv("FCNJAX_MAX_PIXELS", "3600")
    assert open_volume(tmp_path).shape == (40, 30, 6)
    monkeypatch.setenv("FCNJAX_MAX_PIXELS", "3599")
    os.utime(tmp_path, (1, 1))
    assert_error(
        tmp_path, f"{tmp_path}: has 40x30x6 voxels, which take 28800 bytes, and the limit is"
    )


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_all_encodings_give_the_same_values(tmp_path, syntax):
    data = plain(RescaleSlope="2", RescaleIntercept="-5")
    pixels = STORED.astype(">i2" if syntax == uid.ExplicitVRBigEndian else "<i2")
    data.PixelData = pixels.tobytes()
    (tmp_path / "a.dcm").write_bytes(content_of(data, syntax))
    image = open_volume(tmp_path / "a.dcm")
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0].T, STORED * 2.0 - 5)
    assert image.header.get_zooms()[:2] == (0.5, np.float32(0.8))


def test_pixels_of_bits_and_floats(tmp_path):
    bits = np.random.default_rng(1).integers(0, 2, (3, 5, 7), np.uint8)
    data = image_of(bits, PixelData=np.packbits(bits, bitorder="little").tobytes() + b"\0")
    data.BitsAllocated, data.BitsStored, data.HighBit = 1, 1, 0
    found = np.asarray(open_volume(save(tmp_path / "bits.dcm", data)).dataobj)
    np.testing.assert_array_equal(found, bits.transpose(2, 1, 0))
    values = np.linspace(-1, 1, 72).reshape(8, 9)
    values[0, 0] = 1e300
    data = plain(BitsAllocated=64, DoubleFloatPixelData=values.tobytes())
    del data.PixelData
    found = np.asarray(open_volume(save(tmp_path / "floats.dcm", data)).dataobj)[..., 0].T
    assert np.isinf(found[0, 0])
    np.testing.assert_array_equal(found.ravel()[1:], values.ravel()[1:].astype(np.float32))
    data.PhotometricInterpretation = "MONOCHROME1"
    assert_error(
        save(tmp_path / "white.dcm", data), "DoubleFloatPixelData is MONOCHROME2 without a"
    )
