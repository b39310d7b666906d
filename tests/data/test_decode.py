import numpy as np
import pytest
from PIL import Image

from fcnjax.data.labels.mask_files import read_mask, read_palette
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (19, 31, 3), np.uint8)
GREY16 = RNG.integers(0, 65536, (19, 31), np.uint16)
# All corners differ, so that each of the eight orientations gives a different picture.
CORNERS = np.zeros((16, 40), np.uint8)
CORNERS[:8, :8], CORNERS[:8, 24:] = 255, 100


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm", "bmp"])
def test_reads_colour_in_rgb_order(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", COLOUR)
    np.testing.assert_array_equal(read_image(path), COLOUR)
    assert image_size(path) == (19, 31)
    assert read_image(path, "L").shape == (19, 31, 1)


def test_reads_jpeg_approximately(tmp_path):
    path = save(tmp_path / "a.jpg", np.full((9, 7, 3), (200, 100, 50), np.uint8), quality=95)
    np.testing.assert_allclose(read_image(path)[4, 3], (200, 100, 50), atol=4)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_keeps_16_bits(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", GREY16)
    np.testing.assert_array_equal(read_image(path, "L")[..., 0], GREY16)
    np.testing.assert_array_equal(read_image(path)[..., 2], GREY16)
    np.testing.assert_array_equal(read_mask(path), GREY16)
    assert read_image(path).dtype == np.uint16
    assert read_mask(path).dtype == np.int32


def test_drops_alpha(tmp_path):
    alpha = np.dstack([COLOUR, COLOUR[..., 0]])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", alpha)), COLOUR)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_applies_to_images_and_masks(tmp_path, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x112] = orientation
    save(path, CORNERS, exif=exif, **({"quality": 100} if suffix == "jpg" else {}))
    # The position of row 0 and column 0 of the file in the picture, by the EXIF standard.
    turned = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.T,
        6: CORNERS.T[:, ::-1],
        7: CORNERS.T[::-1, ::-1],
        8: CORNERS.T[::-1],
    }[orientation]
    for array in (read_image(path)[..., 1], read_image(path, "L")[..., 0], read_mask(path)):
        np.testing.assert_allclose(array.astype(int), turned, atol=3)
    assert image_size(path) == turned.shape


def test_orientation_applies_to_16_bit_tiff_masks(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    path = save(tmp_path / "a.tif", GREY16, exif=exif)
    np.testing.assert_array_equal(read_mask(path), np.rot90(GREY16, -1))
    assert image_size(path) == (31, 19)


def test_palette_mask_gives_indices(tmp_path):
    indices = RNG.integers(0, 3, (9, 8), np.uint8)
    image = Image.fromarray(indices, "L").convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), indices)
    assert read_palette(tmp_path / "a.png")[:3] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def test_masks_of_bits_and_of_equal_channels(tmp_path):
    bits = RNG.integers(0, 2, (9, 8)).astype(bool)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", bits)), bits)
    grey = np.repeat(COLOUR[..., :1], 3, -1)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "b.png", grey)), grey[..., 0])
    alpha = np.dstack([grey, 255 - grey[..., 0]])
    np.testing.assert_array_equal(read_mask(save(tmp_path / "c.png", alpha)), grey[..., 0])
    assert read_palette(tmp_path / "b.png") is None


def test_colour_mask_is_refused(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    with pytest.raises(UserError, match=r"a\.png: is a colour picture.*palette PNG"):
        read_mask(path)


def test_float_image_is_read_but_refused_as_mask(tmp_path):
    reals = COLOUR[..., 0].astype(np.float32) / 7 - 9
    path = save(tmp_path / "a.tif", reals)
    image = read_image(path)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.dstack([reals] * 3))
    with pytest.raises(UserError, match=r"a\.tif: has the value .* whole numbers"):
        read_mask(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "ppm", "bmp"])
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.95])
def test_error_names_truncated_file(tmp_path, capfd, suffix, part):
    path = save(tmp_path / f"a.{suffix}", COLOUR)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UserError, match=rf"a\.{suffix}: cannot be read as an image") as raised:
        read_image(path)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_error_names_files_of_other_kinds(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    for read in (read_image, read_mask, image_size):
        with pytest.raises(UserError, match=r"a\.png: cannot be read as an image: it is damaged"):
            read(tmp_path / "a.png")
        with pytest.raises(UserError, match=r"b\.png: no such file"):
            read(tmp_path / "b.png")
    (tmp_path / "c.png").mkdir()
    with pytest.raises(UserError, match=r"c\.png: cannot be read: Is a directory"):
        read_image(tmp_path / "c.png")
