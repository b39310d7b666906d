"""PNG, PNM and other files are read as stored, for images and for masks."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fcnjax.data.readers.decode import Encoded, image_size, read_image, read_stored_pixels
from fcnjax.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (19, 31, 3), np.uint8)
COLOUR16 = RNG.integers(0, 65536, (19, 31, 3), np.uint16)
ALPHA = RNG.integers(0, 256, (19, 31, 1), np.uint8)  # from opaque to clear


def file_of(content):
    return Encoded(content, "a", "test")


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, bits, colour, rows):
    """A PNG of rows of packed bytes."""
    header = struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_data_after_a_png_is_ignored():
    for image in (Image.fromarray(COLOUR), Image.fromarray(COLOUR16[..., 0])):
        content = saved(image)
        whole = read_image(file_of(content))
        for rest in (b"\0" * 40, b"IEND", b"more text than sixteen bytes", content):
            np.testing.assert_array_equal(read_image(file_of(content + rest)), whole)
            with pytest.raises(UserError, match="cannot be read as an image"):
                read_image(file_of(content[:-30] + rest[:10]))


def test_colours_under_transparency_are_kept():
    both = np.concatenate([COLOUR, ALPHA], -1)
    both16 = np.concatenate([COLOUR16, COLOUR16[..., :1]], -1)
    of16 = cv2.imencode(".png", both16[..., [2, 1, 0, 3]])[1].tobytes()
    for content, colour in (
        (saved(Image.fromarray(both)), COLOUR),
        (saved(Image.fromarray(COLOUR), transparency=tuple(COLOUR[0, 0].tolist())), COLOUR),
        (of16, COLOUR16),
    ):
        found = read_image(file_of(content))
        np.testing.assert_array_equal(found, colour)
        assert found.dtype == colour.dtype
    assert read_image(file_of(of16), "4,1").shape == (19, 31, 2)
    np.testing.assert_array_equal(read_image(file_of(of16), "1,2,3,4"), both16)
    grey = Image.fromarray(both[..., 2:])
    np.testing.assert_array_equal(read_image(file_of(saved(grey)), "L"), COLOUR[..., 2:])
    palette = Image.fromarray(COLOUR).quantize(9)
    clear = saved(palette, transparency=bytes(range(0, 90, 10)))
    np.testing.assert_array_equal(read_image(file_of(clear)), np.asarray(palette.convert("RGB")))


def test_palette_files_give_indices_and_colours():
    palette = Image.fromarray(COLOUR).quantize(13)
    stored = read_stored_pixels(file_of(saved(palette, bits=4)))
    np.testing.assert_array_equal(stored.pixels[..., 0], np.asarray(palette))
    assert stored.colorinterp == ("palette",)
    assert stored.palette[:13] == [tuple(c) for c in np.reshape(palette.getpalette(), (-1, 3))[:13]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_ids_in_masks_and_intensities_in_images(bits):
    values = RNG.integers(0, 2**bits, (5, 16)).astype(np.uint8)
    packed = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(5, -1)
    content = png(16, 5, bits, 0, [row.tobytes() for row in np.packbits(packed, axis=-1)])
    stored = read_stored_pixels(file_of(content))
    np.testing.assert_array_equal(stored.ids[..., 0], values)
    assert stored.max_value == 2**bits - 1
    expected = values * (255 // (2**bits - 1))
    np.testing.assert_array_equal(read_image(file_of(content), "L")[..., 0], expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bands", [1, 3])
def test_interlaced_png(bits, bands):
    pixels = (COLOUR if bits == 8 else COLOUR16)[..., :bands]
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    rows = [
        row.astype(f">u{bits // 8}").tobytes()
        for top, left, down, right in (*passes, (1, 0, 2, 1))
        for row in pixels[top::down, left::right]
    ]
    content = bytearray(png(31, 19, bits, 2 if bands == 3 else 0, rows))
    content[28] = 1  # Adam7
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    found = read_image(file_of(bytes(content)), "RGB" if bands == 3 else "L")
    np.testing.assert_array_equal(found, pixels)


def test_animation_is_refused():
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    content = saved(frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="holds 2 pages or frames"):
        read_image(file_of(content))
    np.testing.assert_array_equal(read_image(file_of(content), pages="first"), COLOUR)


@pytest.mark.parametrize("full", [1, 7, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_pnm_of_any_maximum_value(full, bands, plain):
    dtype = np.uint8 if full < 256 else np.uint16
    values = RNG.integers(0, full, (4, 5, bands), np.uint16, endpoint=True)
    kind = (2 if plain else 5) + (bands == 3)
    body = (
        " ".join(map(str, values.ravel())).encode()
        if plain
        else values.astype(">u2" if full > 255 else np.uint8).tobytes()
    )
    content = b"P%d\n# a comment 9 9\n5 4 # one more\n%d\n" % (kind, full) + body
    stored = read_stored_pixels(file_of(content))
    np.testing.assert_array_equal(stored.pixels, values)
    found = read_image(file_of(content), "RGB" if bands == 3 else "L")
    assert found.dtype == dtype
    most = 255 if full < 256 else 65535
    exact = (2 * values.astype(np.int64) * most + full) // (2 * full)
    np.testing.assert_array_equal(found, exact)
    assert image_size(file_of(content)) == (4, 5)


@pytest.mark.parametrize("plain", [False, True])
def test_pbm_is_white_where_the_bit_is_0(plain):
    bits = RNG.integers(0, 2, (4, 11), np.uint8)
    body = (
        b"\n".join("".join(map(str, row)).encode() for row in bits)
        if plain
        else np.packbits(bits, axis=1).tobytes()
    )
    content = b"P%d 11 4\n" % (1 if plain else 4) + body
    np.testing.assert_array_equal(read_image(file_of(content), "L")[..., 0], 255 - 255 * bits)
    stored = read_stored_pixels(file_of(content))
    np.testing.assert_array_equal(stored.pixels[..., 0], bits)
    np.testing.assert_array_equal(stored.ids[..., 0], 1 - bits)  # as Pillow and OpenCV show it


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P5 5 4 255 " + bytes(19), "cut off"),
        (b"P2 2 1 9 1", "cut off"),
        (b"P2 2 1 9 1 10", "damaged"),
        (b"P2 2 1 9 1 x", "damaged"),
        (b"P5 5 4 70000 " + bytes(40), "header is damaged"),
        (b"P5 0 4 255 ", "header is damaged"),
        (b"P5 5", "header is damaged"),
        (b"P5 2 1 9 \x01\x0a", "has pixels of 10"),
        (b"P5 1 1 255 \x01P5 1 1 255 \x02", "several images"),
        (b"P5 100000 100000 255 ", "10000000000 pixels"),
    ],
)
def test_damaged_pnm_is_refused(content, words):
    with pytest.raises(UserError, match=words) as raised:
        read_image(file_of(content))
    assert "\n" not in str(raised.value)


def test_other_formats_are_detected_by_content():
    for kind, options in (("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {})):
        picture = Image.fromarray(COLOUR)
        if kind == "GIF":
            picture = picture.quantize(64)
        content = saved(picture, kind, **options)
        expected = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal(read_image(file_of(content)), expected)
    inks = Image.fromarray(np.concatenate([COLOUR, ALPHA], -1), "CMYK")
    content = saved(inks, "JPEG", quality=99)
    with Image.open(io.BytesIO(content)) as stored:
        expected = np.asarray(stored.convert("RGB"))
    np.testing.assert_array_equal(read_image(file_of(content)), expected)
