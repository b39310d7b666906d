import sys
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.readers.raster.bands import (
    read_bands,
    read_bands_and_valid,
    read_header,
    read_mask_values,
)
from fcnjax.errors import UserError

rasterio = pytest.importorskip("rasterio")
RNG = np.random.default_rng(0)
FOUR = RNG.integers(1, 60000, (7, 9, 4), np.uint16)
PLACE = rasterio.Affine(10, 0, 500000, 0, -10, 4000000)


def write(path, pixels, names=None, marks=None, **options):
    """Write `[H, W, C]` pixels as a georeferenced raster."""
    height, width, count = pixels.shape
    options = {"driver": "GTiff", "crs": "EPSG:32633", "transform": PLACE, **options}
    with rasterio.open(
        path, "w", height=height, width=width, count=count, dtype=pixels.dtype, **options
    ) as raster:
        raster.write(np.moveaxis(pixels, -1, 0))
        if names:
            raster.descriptions = names
        if marks:
            raster.colorinterp = [rasterio.enums.ColorInterp[mark] for mark in marks]
    return path


def assert_error(path, names, *words, window=None):
    with pytest.raises(UserError) as raised:
        read_bands(path, names, window)
    message = str(raised.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message, message


def test_bands_by_description(tmp_path):
    path = write(tmp_path / "a.tif", FOUR, ("B2", "B3", "B4", "B8"))
    np.testing.assert_array_equal(read_bands(path, ("b8", "B2")), FOUR[..., [3, 0]])
    # A name that is a description never counts as a band number.
    path = write(tmp_path / "b.tif", FOUR, ("4", "3", "2", "1"))
    np.testing.assert_array_equal(read_bands(path, ("4", "1")), FOUR[..., [0, 3]])
    assert_error(path, ("4", "NIR"), "has no band 'NIR'", "config.data.channels", "1 (4), 2 (3)")


def test_bands_by_number_by_colour_and_in_order(tmp_path):
    path = write(tmp_path / "a.tif", FOUR)
    np.testing.assert_array_equal(read_bands(path, ("4", "1")), FOUR[..., [3, 0]])
    np.testing.assert_array_equal(read_bands(path, tuple("wxyz")), FOUR)
    assert_error(path, ("1", "5"), "its bands: 1, 2, 3, 4")
    assert_error(path, ("0", "1"), "has no band '0'")
    assert_error(path, ("x", "y"), "has no band 'x'")
    path = write(tmp_path / "b.tif", FOUR, marks=("blue", "green", "red", "undefined"))
    np.testing.assert_array_equal(read_bands(path, ("R", "G", "B")), FOUR[..., [2, 1, 0]])
    assert_error(write(tmp_path / "c.tif", FOUR[..., :2]), ("R", "G", "B"), "its bands: 1, 2")
    grey = write(tmp_path / "d.tif", FOUR[..., :1])
    np.testing.assert_array_equal(read_bands(grey, ("L",)), FOUR[..., :1])


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        ("int16", "float32"),
        ("uint32", "float32"),
        ("float32", "float32"),
        ("float64", "float32"),
    ],
)
def test_pixel_types_are_converted(tmp_path, stored, read):
    pixels = np.arange(24).reshape(3, 4, 2).astype(stored)
    if stored == "int16":
        pixels -= 1000
    bands = read_bands(write(tmp_path / "a.tif", pixels), ("1", "2"))
    assert bands.dtype == read
    np.testing.assert_array_equal(bands, pixels)


@pytest.mark.parametrize(
    ("stored", "value"), [("int32", 2**24 + 1), ("uint32", 2**32 - 1), ("float64", 1.7e9 + 1)]
)
def test_values_inexact_in_float32_are_refused(tmp_path, stored, value):
    pixels = np.full((3, 4, 2), 2**24, stored)
    path = write(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(read_bands(path, ("1", "2")), pixels)
    pixels[1, 2, 0] = value
    assert_error(write(tmp_path / "b.tif", pixels), ("1", "2"), f"{stored} pixels", "not exact")
    as_nodata = write(tmp_path / "c.tif", pixels, nodata=value)
    assert read_bands(as_nodata, ("1", "2"))[1, 2].tolist() == [0, 2**24]


def test_grey_and_rgb_are_converted_as_for_pictures(tmp_path):
    grey = write(tmp_path / "a.tif", FOUR[..., :1])
    np.testing.assert_array_equal(read_bands(grey, tuple("RGB")), FOUR[..., [0, 0, 0]])
    colour = write(tmp_path / "b.tif", FOUR[..., :3], photometric="RGB")
    np.testing.assert_array_equal(read_bands(colour, ("L",)), read_image(colour, "L"))
    assert_error(
        write(tmp_path / "c.tif", FOUR), ("L",), "has no band 'L'", "config.data.channels=1"
    )


def test_palette_is_converted_to_rgb(tmp_path):
    indices = RNG.integers(0, 4, (5, 6, 1)).astype(np.uint8)
    path = write(tmp_path / "a.tif", indices, photometric="palette")
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {i: (i * 9, 255 - i, i, 255) for i in range(4)})
    expected = np.stack([indices * 9, 255 - indices, indices], -1)[..., 0, :]
    np.testing.assert_array_equal(read_bands(path, tuple("RGB")), expected)
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("mask_first", [True, False])
def test_overviews_and_masks_do_not_count_as_pages(tmp_path, mask_first):
    colour = RNG.integers(1, 256, (80, 96, 3), np.uint8)
    inside = np.ones((80, 96), bool)
    inside[:9] = False
    path = write(tmp_path / "a.tif", colour, photometric="RGB")
    steps = [
        lambda raster: raster.write_mask(inside),
        lambda raster: raster.build_overviews([2, 4], rasterio.enums.Resampling.nearest),
    ]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        for step in steps if mask_first else steps[::-1]:
            with rasterio.open(path, "r+") as raster:
                step(raster)
    expected = colour * inside[..., None]
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_bands(path, tuple("RGB")), expected)
    assert image_size(path) == (80, 96)


def test_several_pages_and_orientations_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(FOUR[..., band]) for band in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert_error(path, ("L",), "holds 3 pages", "config.data.pages=first")
    np.testing.assert_array_equal(read_bands(path, ("L",), None, "first"), FOUR[..., :1])
    exif = Image.Exif()
    exif[274] = 6
    pages[0].save(tmp_path / "b.tif", exif=exif)
    assert_error(tmp_path / "b.tif", ("L",), "Orientation 6")


def test_complex_pixels_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((3, 4, 2), np.complex64))
    assert_error(path, ("1", "2"), "has complex64 pixels")


def test_nodata_is_zero_and_invalid(tmp_path):
    pixels = np.full((2, 3, 2), 7.0, np.float32)
    pixels[0, 0], pixels[0, 1, 0], pixels[1, 2, 1], pixels[1, 1] = -9999, -9999, np.nan, np.inf
    path = write(tmp_path / "a.tif", pixels, nodata=-9999)
    bands, valid = read_bands_and_valid(path, ("1", "2"))
    np.testing.assert_array_equal(bands[..., 0], [[0, 0, 7], [7, 0, 7]])
    np.testing.assert_array_equal(bands[..., 1], [[0, 7, 7], [7, 0, 0]])
    np.testing.assert_array_equal(valid, [[False, True, True], [True, False, True]])
    whole = write(tmp_path / "b.tif", FOUR, nodata=int(FOUR[2, 3, 1]))
    assert read_bands(whole, ("2", "3"))[2, 3, 0] == 0


def test_windows_are_cropped_from_the_raster(tmp_path):
    path = write(tmp_path / "a.tif", FOUR)
    window = read_bands(path, ("1", "3"), (2, 5, 3, 4))
    np.testing.assert_array_equal(window, FOUR[2:5, 5:9, [0, 2]])
    assert_error(path, ("1", "2"), "is 9x7 pixels", "4x3 at column 6", window=(2, 6, 3, 4))


def test_only_the_window_of_a_large_file_is_read(tmp_path):
    path = tmp_path / "large.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=8000, width=8000, count=3, dtype="uint16",
        tiled=True, blockxsize=256, blockysize=256, compress="deflate", sparse_ok=True,
        transform=PLACE,
    ) as raster:  # fmt: skip
        block = rasterio.windows.Window(4096, 4096, 256, 256)
        raster.write(np.full((3, 256, 256), 9, np.uint16), window=block)
    tracemalloc.start()
    start = time.perf_counter()
    pixels = read_bands(path, ("1", "2", "3"), (4000, 4000, 512, 512))
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (512, 512, 3)
    assert pixels.sum() == 9 * 3 * 256 * 256
    assert peak < 16 * 2**20  # the whole is 366 MiB
    assert seconds < 5


def test_image_files(tmp_path):
    path = write(tmp_path / "a.tif", FOUR, ("B2", "B3", "B4", "B8"))
    np.testing.assert_array_equal(read_image(path, "B8,B4"), FOUR[..., [3, 2]])
    assert image_size(path) == (7, 9)
    six = write(tmp_path / "six.tif", np.zeros((5, 8, 6), np.float32))
    assert image_size(six) == (5, 8)
    (tmp_path / "bad.tif").write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"bad\.tif: cannot be read as an image: "):
        read_image(tmp_path / "bad.tif", "B8,B4")
    with pytest.raises(UserError, match=r"bad\.tif: cannot be read"):
        image_size(tmp_path / "bad.tif")
    with pytest.raises(UserError, match=r"no\.tif: no such file"):
        image_size(tmp_path / "no.tif")
    with pytest.raises(UserError, match=r"no\.tif: no such file"):
        read_image(tmp_path / "no.tif", "B8,B4")


def test_truncated_raster_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", RNG.integers(0, 255, (200, 200, 2), np.uint8))
    path.write_bytes(path.read_bytes()[:50000])
    assert_error(path, ("1", "2"), "cannot be read as a raster")


def test_masks(tmp_path):
    values = np.arange(12).reshape(3, 4, 1)
    for kind in (np.uint8, np.int32, np.float32):
        path = write(tmp_path / f"{kind.__name__}.tif", values.astype(kind))
        np.testing.assert_array_equal(read_mask_values(path, (1, 1, 2, 3)), values[1:, 1:, 0])
    path = write(tmp_path / "half.tif", (values / 2).astype(np.float32))
    with pytest.raises(UserError, match=r"half\.tif: has the value 0\.5, in 6 pixels"):
        read_mask_values(path)
    with pytest.raises(UserError, match="has 2 bands, and a mask has one"):
        read_mask_values(write(tmp_path / "two.tif", FOUR[..., :2]))


def test_header(tmp_path):
    header = read_header(write(tmp_path / "a.tif", FOUR, nodata=3))
    assert (header.size, header.bands, header.nodata) == ((7, 9), 4, 3)
    np.testing.assert_array_equal(header.transform, [[10, 0, 5e5], [0, -10, 4e6], [0, 0, 1]])
    palette = Image.fromarray(np.zeros((3, 4), np.uint8))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "p.png")
    header = read_header(tmp_path / "p.png")
    assert header.transform is None
    assert header.palette[1] == (10, 20, 30)


def test_without_rasterio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert_error(tmp_path / "a.tif", ("1", "2"), "pip install 'fcnjax[geo]'")
