"""Image files with false claims in their header or name."""

import io
import os
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from fcnjax.data.labels.mask_files import read_colours, read_mask
from fcnjax.data.readers import conversion, limits
from fcnjax.data.readers.channels import to_intensity
from fcnjax.data.readers.conversion import NO_DATA, row_blocks, to_integers
from fcnjax.data.readers.decode import Encoded, image_size, read_image
from fcnjax.data.readers.formats import codestreams
from fcnjax.data.readers.formats.codestreams import jpeg_pixel_bytes, jpeg_xl_size
from fcnjax.data.readers.tiff import checks
from fcnjax.errors import UserError

READERS = (read_image, read_mask, image_size)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\n%%EOF\n"


def assert_error(read, words):
    with pytest.raises(UserError, match=words) as raised:
        read()
    assert "\n" not in str(raised.value)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def encoded(content):
    return Encoded(content, "x.png", "a set")


@pytest.mark.parametrize("read", READERS)
def test_postscript_named_png_starts_no_ghostscript(tmp_path, monkeypatch, read):
    def started(*args, **kwargs):
        raise AssertionError(args)

    monkeypatch.setattr("subprocess.Popen", started)
    (tmp_path / "a.png").write_bytes(EPS)
    assert_error(lambda: read(tmp_path / "a.png"), "damaged, or of an unknown format")


@pytest.mark.parametrize("form", ["ICO", "TGA", "PCX", "JPEG2000"])
def test_only_documented_formats_are_decoded(form):
    content = saved(Image.new("RGB", (16, 16)), form)
    assert_error(lambda: read_image(encoded(content)), "cannot be read as an image")


@pytest.mark.parametrize("read", READERS)
def test_irregular_files_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.png", "/dev/zero"):
        assert_error(lambda path=path: read(path), "is not a regular file")


def test_limit_on_bytes_grows_with_the_file(monkeypatch):
    monkeypatch.setattr(limits, "SMALL_FILE_BYTES", 1000)
    monkeypatch.setattr(limits, "BYTES_PER_FILE_BYTE", 64)
    monkeypatch.delenv(limits.VARIABLE, raising=False)
    limits.refuse_large("a", 10, 100, 1, file_bytes=10)
    assert_error(
        lambda: limits.refuse_large("a", 10, 101, 1, file_bytes=10), "1010 bytes, .* is 1000 "
    )
    limits.refuse_large("a", 10, 128, 1, file_bytes=20)
    assert_error(
        lambda: limits.refuse_large("a", 10, 129, 1, file_bytes=20),
        "1290 bytes, and the limit is 1280 for a file of 20 bytes; .*=1290 raises it",
    )
    monkeypatch.setenv(limits.VARIABLE, "1290")
    limits.refuse_large("a", 10, 129, 8, file_bytes=20)


@pytest.mark.parametrize(
    ("form", "mode", "options", "pixel_bytes"),
    [
        ("PNG", "L", {}, 1),
        ("PNG", "RGB", {}, 4),  # as Pillow keeps it
        ("PNG", "I;16", {}, 2),
        ("JPEG", "RGB", {}, 3),
        ("JPEG", "RGB", {"progressive": True}, 9),
        ("WEBP", "RGB", {"lossless": True}, 12),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}, 3),
    ],
)
def test_limit_counts_bytes_of_decoded_pixels(monkeypatch, form, mode, options, pixel_bytes):
    content = saved(Image.new(mode, (64, 64)), form, **options)
    monkeypatch.setattr(limits, "BYTES_PER_FILE_BYTE", 0)
    channels = "RGB" if mode == "RGB" else "L"
    monkeypatch.setattr(limits, "SMALL_FILE_BYTES", 64 * 64 * pixel_bytes)
    assert read_image(encoded(content), channels).shape[:2] == (64, 64)
    monkeypatch.setattr(limits, "SMALL_FILE_BYTES", 64 * 64 * pixel_bytes - 1)
    assert_error(lambda: read_image(encoded(content), channels), f"of {pixel_bytes} bytes, ")


def test_limit_counts_channels_and_classes(monkeypatch):
    content = saved(Image.new("L", (64, 64), 7), "PNG")
    monkeypatch.setattr(limits, "BYTES_PER_FILE_BYTE", 0)
    monkeypatch.setattr(limits, "SMALL_FILE_BYTES", 64 * 64)
    assert (read_mask(encoded(content)) == 7).all()
    assert_error(lambda: read_image(encoded(content), "RGB"), "pixels of 3 bytes")
    assert_error(lambda: read_colours(encoded(content)), "pixels of 3 bytes")


def test_jpeg_with_many_scans_is_refused(monkeypatch):
    content = saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last = content.rfind(b"\xff\xda")
    many = content[:-2] + content[last:-2] * 100 + content[-2:]
    assert_error(
        lambda: read_image(encoded(many)), "scans; the limit for an image of its size is 100"
    )
    monkeypatch.setattr(codestreams, "MAX_SCANNED", 64 * 64 * 20)
    assert read_image(encoded(content)).shape == (64, 64, 3)
    more = content[:-2] + content[last:-2] * 15 + content[-2:]
    assert_error(
        lambda: read_image(encoded(more)), "25 scans; the limit for an image of its size is 20"
    )


def test_scans_of_a_thumbnail_are_not_counted():
    thumbnail = saved(Image.new("RGB", (8, 8)), "JPEG", progressive=True)
    content = saved(Image.new("RGB", (64, 64)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    content = content[:2] + segment + content[2:]
    assert content.count(b"\xff\xda") > 5
    assert jpeg_pixel_bytes("a", content, 3, 64 * 64) == 3


def tiff_of(entries, following=0):
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + tags + struct.pack("<I", following)


def test_overlapping_directories_are_refused(monkeypatch):
    monkeypatch.setattr(checks, "MAX_TAGS", 2000)
    count = 60
    body = b"".join(tiff_of([(65000 + i, 3, 1, 0)] * 40, 8 + 486 * (i + 1)) for i in range(count))
    content = b"II*\0" + struct.pack("<I", 8) + body
    assert_error(lambda: image_size(encoded(content)), "has 2040 tags with")


def test_values_shared_by_pages_are_refused():
    # Each of 30 pages would make objects of the offsets of 2**20 strips.
    values = bytes(2**18 * 4)
    pages = b""
    start = 8 + len(values)
    for number in range(30):
        pages += tiff_of([(273, 4, 2**18, 8)], start + 18 * (number + 1) if number < 29 else 0)
    content = b"II*\0" + struct.pack("<I", start) + values + pages
    assert_error(lambda: image_size(encoded(content)), "bytes of values in 3 pages")


def test_circular_directories_end():
    content = b"II*\0" + struct.pack("<I", 8) + tiff_of([(65000, 3, 1, 0)], 8)
    assert_error(lambda: image_size(encoded(content)), "it has no pixels")


def test_strips_sharing_bytes_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 600), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", noise, compression="zlib", rowsperstrip=600)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    tifffile.imwrite(tmp_path / "b.tif", noise, compression="zlib", rowsperstrip=1)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        offsets, counts = (file.pages[0].tags[code] for code in (273, 279))
    content = bytearray((tmp_path / "b.tif").read_bytes())
    size = len(content)
    for number in range(600):
        struct.pack_into("<I", content, offsets.valueoffset + 4 * number, 8)
        width = 2 if counts.dtype == 3 else 4
        struct.pack_into("<H" if width == 2 else "<I", content, counts.valueoffset + width * number,
                         min(size - 8, 65535))  # fmt: skip
    assert_error(lambda: read_image(encoded(bytes(content)), "L"), "strips or tiles have")


@pytest.mark.parametrize("size", [(8, 8), (24, 31), (300, 200), (257, 1030), (16, 32), (600, 900)])
def test_jpeg_xl_size_is_read_from_the_header(size):
    content = imagecodecs.jpegxl_encode(np.zeros(size, np.uint8))
    assert jpeg_xl_size(content) == size[::-1]
    assert jpeg_xl_size(content[:2]) is None
    assert jpeg_xl_size(b"") is None


@pytest.mark.parametrize(
    ("compression", "encode"),
    [("jpegxl", imagecodecs.jpegxl_encode), ("lerc", imagecodecs.lerc_encode)],
)
def test_strip_claiming_another_size_is_refused(tmp_path, compression, encode):
    small, large = np.zeros((16, 16), np.uint8), np.zeros((600, 700), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", small, compression=compression)
    assert not read_image(tmp_path / "a.tif", "L").any()
    content, segment = (tmp_path / "a.tif").read_bytes(), bytes(encode(large))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages[0].tags
    content = bytearray(content + segment)
    struct.pack_into("<I", content, tags[273].offset + 8, len(content) - len(segment))
    struct.pack_into("<I", content, tags[279].offset + 8, len(segment))
    words = "a part of it claims to be 700x600 pixels"
    assert_error(lambda: read_image(encoded(bytes(content)), "L"), words)


def test_unsupported_compressions_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((16, 16), np.uint8))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages[0].tags[259].offset + 8
    for code in (48124, 50013, 65000):
        content = bytearray((tmp_path / "a.tif").read_bytes())
        struct.pack_into("<H", content, place, code)
        assert_error(
            lambda content=content: read_image(encoded(bytes(content)), "L"), "is compressed by"
        )


def test_files_named_in_metadata_are_not_opened(tmp_path, monkeypatch):
    stack = np.zeros((3, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack[0], description="x", software="Micro-Manager")
    monkeypatch.setattr(tifffile.TiffFile, "is_mmstack", True)
    monkeypatch.setattr(
        tifffile.TiffFile, "series", property(lambda self: pytest.fail("reads the series"))
    )
    assert image_size(tmp_path / "a.tif") == (8, 8)


def test_row_blocks_give_the_same_result(monkeypatch):
    values = np.random.default_rng(0).integers(-9, 9, (50, 7)).astype(np.int16)
    whole = to_integers(values, "a", -3.0)
    monkeypatch.setattr(conversion, "_BLOCK_VALUES", 40)
    assert [rows.stop - rows.start for rows in row_blocks(values)] == [5] * 10
    np.testing.assert_array_equal(to_integers(values, "a", -3.0), whole)
    assert (whole == NO_DATA).sum() == (values == -3).sum() > 0
    halves = values + np.float32(0.5)
    with pytest.raises(UserError, match=r"the value .*\.5, in 350 pixels"):
        to_integers(halves, "a")


def test_intensities_are_rounded_to_the_nearest():
    for bits in range(1, 8):
        values = np.arange(2**bits, dtype=np.uint8)
        exact = np.rint(values * (255 / (2**bits - 1)))
        np.testing.assert_array_equal(to_intensity("a", values, 2**bits - 1, False), exact)
    twelve = np.arange(4096, dtype=np.uint16)
    scaled = to_intensity("a", twelve, 4095, True)
    np.testing.assert_array_equal(scaled, 65535 - np.floor(twelve * (65535 / 4095) + 0.5))


@pytest.mark.slow
def test_constant_mask_of_400_megapixels_is_read(tmp_path):
    side = 20_000
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(side + 1)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
            for k, d in parts
        )
    )
    assert (tmp_path / "a.png").stat().st_size < 400_000
    mask = read_mask(tmp_path / "a.png")
    assert mask.shape == (side, side)
    assert not mask.any()
