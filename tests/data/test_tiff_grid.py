"""TIFF files of many kinds are read as written, or refused with their name."""

import functools
import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tiff_by_gdal
import tiff_by_others
import tiff_cases
import tiff_grid
import tifffile
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data.readers.decode import image_size, read_image
from fcnjax.data.readers.raster.bands import read_bands
from fcnjax.errors import UserError
from fcnjax.inference import Model
from fcnjax.inference.inputs.fetch import as_file

FEATURES = tiff_grid.features()


def by_path(path, case):
    return read_image(path, case.channels, case.pages)


def by_predict(path, case):
    return model(case.channels, case.pages).read(as_file(str(path)))


@functools.cache
def model(channels, pages):
    """Return a model that reads files of every pixel type and predicts nothing."""
    config = default_config()
    set_data(config, channels=channels, pages=pages)
    return Model(config, lambda *args: {}, {}, 0)


def by_serve(path, case):
    from fcnjax.serving.http.refusal import Refused
    from fcnjax.serving.images import check, decode

    try:
        content = path.read_bytes()
        check(content, case.pages, 10**6)
        return decode(content, case.channels, case.pages)
    except Refused as error:
        raise UserError(error.detail) from error


READERS = {"path": by_path, "predict": by_predict, "serve": by_serve}


def assert_right(case, path):
    expected = case.write(path)
    for name, read in READERS.items():
        if isinstance(expected, str):
            with pytest.raises(UserError) as raised:
                read(path, case)
            message = str(raised.value)
            assert "\n" not in message
            assert expected.split()[0] in message if name == "serve" else expected in message
            continue
        found = read(path, case)
        assert found.dtype == expected.dtype, (name, found.dtype)
        if case.tolerance:
            off = np.abs(found.astype(int) - expected.astype(int)).max()
            assert off <= case.tolerance, (name, off)
        else:
            np.testing.assert_array_equal(found, expected, name)
        assert image_size(path) == expected.shape[:2]
    _assert_raster_agrees(case, path, expected)


def _assert_raster_agrees(case, path, expected):
    """Check that rasterio reads the same, or that the file is refused."""
    pytest.importorskip("rasterio")
    names = tuple(case.channels) if case.channels == "RGB" else tuple(case.channels.split(","))
    try:
        found = read_bands(path, names, None, case.pages)
    except UserError:
        return
    assert not isinstance(expected, str), (expected, found.dtype, found.shape)
    off = np.abs(found.astype(float) - expected.astype(float)).max()
    assert off <= case.tolerance, ("raster", off)


@pytest.mark.parametrize("case", FEATURES, ids=str)
def test_file_is_read_as_written(case, tmp_path):
    assert_right(case, tmp_path / "a.tif")


@pytest.mark.skipif(tiff_by_others.CONVERT is None, reason="ImageMagick is not installed")
def test_imagemagick_is_among_the_writers():
    assert sum(case.writer == "ImageMagick" for case in FEATURES) > 30


@pytest.mark.slow
@pytest.mark.parametrize("grid", tiff_grid.GRIDS)
def test_every_combination(grid, tmp_path):
    wrong = []
    for number, case in enumerate(grid()):
        try:
            assert_right(case, tmp_path / f"{number}.tif")
        except Exception as error:
            wrong.append(f"{case}: {type(error).__name__}: {str(error)[:300]}")
        (tmp_path / f"{number}.tif").unlink(missing_ok=True)
    assert number > 500
    assert not wrong, f"{len(wrong)} of {number + 1}:\n" + "\n".join(wrong[:40])


def test_the_folder_source_reads_four_bands(tmp_path):
    from fcnjax.data import open_stored, resolve

    for number in range(5):
        image, mask = (tmp_path / f"{kind}/{number}" for kind in ("images", "masks"))
        image.parent.mkdir(exist_ok=True)
        mask.parent.mkdir(exist_ok=True)
        four = tiff_cases.pixels("uint16", 4, number)
        tifffile.imwrite(
            image.with_suffix(".tif"), four, photometric="rgb", extrasamples=["unassalpha"]
        )
        classes = (four[..., 0] > 30000).astype(np.uint8)
        Image.fromarray(classes).save(mask.with_suffix(".png"))
    config = default_config()
    set_data(config, root=str(tmp_path), channels="4,1,2,3", mean=(0.5,) * 4, std=(0.2,) * 4)
    source = open_stored(resolve(config)[0], "train")
    for example in source:
        four = tiff_cases.pixels("uint16", 4, int(example["name"]))
        np.testing.assert_array_equal(example["image"], four[..., [3, 0, 1, 2]])
    config.data.pages = "frist"
    with pytest.raises(UserError, match=r"config\.data\.pages: unknown 'frist'.*first"):
        resolve(config)


def test_alpha_band_masks_nothing(tmp_path):
    pytest.importorskip("rasterio")
    from fcnjax.data.readers.raster.bands import read_bands_and_valid

    four = tiff_cases.pixels("uint8", 4)
    four[:10, :, 3] = 0
    path = tmp_path / "a.tif"
    tiff_by_gdal.by_rasterio(four)(path)
    for names in (("R", "G", "B"), ("1", "2", "3", "4"), ("4", "2")):
        image, valid = read_bands_and_valid(path, names)
        expected = four[..., [3, 1]] if names == ("4", "2") else four[..., : len(names)]
        np.testing.assert_array_equal(image, expected)
        assert valid.all()


def write_tags(path, tags, data=b""):
    """Write a TIFF of one directory: (code, type 3 or 4, value) tags, then the data."""
    start = 8 + 2 + 12 * len(tags) + 4
    body = b"".join(
        struct.pack("<HHI", code, kind, 1) + struct.pack("<HH" if kind == 3 else "<I", *value)
        for code, kind, value in (
            (code, kind, (start if value == "data" else value,) + ((0,) if kind == 3 else ()))
            for code, kind, value in tags
        )
    )
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    path.write_bytes(header + body + struct.pack("<I", 0) + data)


def test_old_style_jpeg(tmp_path):
    colour, buffer = tiff_cases.smooth(3), io.BytesIO()
    Image.fromarray(colour).save(buffer, "JPEG", quality=98, subsampling=0)
    height, width = colour.shape[:2]
    size = len(buffer.getvalue())
    tags = [(256, 3, width), (257, 3, height), (258, 3, 8), (259, 3, 6), (262, 3, 6)]
    tags += [(273, 4, "data"), (277, 3, 3), (278, 3, height), (279, 4, size)]
    tags += [(512, 3, 1), (513, 4, "data"), (514, 4, size)]
    write_tags(tmp_path / "a.tif", tags, buffer.getvalue())
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").astype(int), colour, atol=4)


@pytest.mark.parametrize(("code", "encode"), [(8, zlib.compress), (50000, imagecodecs.zstd_encode)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_full_length_last_strip_is_read(tmp_path, code, encode, dtype):
    rows = 16
    grey = tiff_cases.pixels(dtype, 1)
    height, width = grey.shape[:2]
    longer = np.concatenate([grey, grey[: 2 * rows - height]])
    first, last = (encode(longer[top : top + rows].tobytes()) for top in (0, rows))
    tags = [(256, 3, width), (257, 3, height), (258, 3, 8 * grey.itemsize), (259, 3, code)]
    tags += [(262, 3, 1), (273, 4, "data"), (277, 3, 1), (278, 3, rows), (279, 4, 0)]
    path = tmp_path / "a.tif"
    write_tags(path, tags, b"")
    content = bytearray(path.read_bytes())
    start = len(content) + 16
    places = struct.pack("<4I", start, start + len(first), len(first), len(last))
    for code_of, place in ((273, len(content)), (279, len(content) + 8)):
        entry = 10 + 12 * [tag[0] for tag in tags].index(code_of)
        content[entry + 4 : entry + 12] = struct.pack("<2I", 2, place)
    path.write_bytes(bytes(content) + places + first + last)
    np.testing.assert_array_equal(read_image(path, "L"), grey)


LARGE = {
    "many bands": [(256, 3, 20000), (257, 3, 20000), (277, 3, 60000)],
    "large tiles": [(256, 3, 9), (257, 3, 9), (277, 3, 1), (322, 4, 65536), (323, 4, 65536)],
}


@pytest.mark.parametrize("kind", LARGE)
def test_small_file_claiming_large_size_is_refused(tmp_path, kind):
    tags = [(258, 3, 8), (259, 3, 8), (262, 3, 1), *LARGE[kind]]
    places = ((324, 4, "data"), (325, 4, 9)) if "tiles" in kind else ((273, 4, "data"), (279, 4, 9))
    write_tags(tmp_path / "a.tif", sorted([*tags, *places]), bytes(9))
    with pytest.raises(UserError, match="FCNJAX_MAX_PIXELS"):
        read_image(tmp_path / "a.tif", "L")
    with pytest.raises(UserError, match="the limit is"):
        by_serve(tmp_path / "a.tif", tiff_cases.Case("", "", "L", None))


def test_jpeg_strip_claiming_large_size_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    colour = tiff_cases.smooth(3)
    tifffile.imwrite(path, colour, photometric="rgb", compression="jpeg")
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">2H", 65000, 65000)
    path.write_bytes(content)
    with pytest.raises(UserError, match="a part of it claims to be 65000x65000"):
        read_image(path)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("codec", ["raw", "tiff_lzw", "tiff_deflate", "zstd", "jpeg"])
def test_truncated_file_is_refused(tmp_path, codec, part, capfd):
    path = tmp_path / "a.tif"
    # Pillow writes the directory first.
    Image.fromarray(tiff_cases.pixels("uint8", 3)).save(path, compression=codec)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UserError, match=r"a\.tif: cannot be read as an image") as raised:
        read_image(path)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")
