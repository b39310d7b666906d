import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fcnjax.data.labels.mask_files import read_colours
from fcnjax.data.readers.decode import read_image
from fcnjax.errors import UserError

COLOUR = np.random.default_rng(0).integers(0, 256, (40, 57, 3), np.uint8)


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    return path


def test_orientation_after_the_pixels_is_applied(png):
    exif = Image.Exif()
    exif[0x112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    content = png.read_bytes()
    png.write_bytes(content[:-12] + chunk + content[-12:])
    for read in (read_image, read_colours):
        np.testing.assert_array_equal(read(png), np.rot90(COLOUR, -1))


def test_complete_png_is_decoded_once(png, monkeypatch):
    def load(self):
        raise AssertionError("Pillow decoded the picture, which OpenCV decodes too")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    np.testing.assert_array_equal(read_image(png), COLOUR)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
def test_error_names_png_with_damaged_pixels(png, capfd, place):
    content = bytearray(png.read_bytes())
    start = int(len(content) * place)
    del content[start : start + 20]
    png.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png: cannot be read as an image"):
        read_image(png)
    assert capfd.readouterr() == ("", "")
