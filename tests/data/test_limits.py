import base64
import io
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.labels.mask_files import is_colour, read_colours, read_mask, read_palette
from fcnjax.data.readers.decode import Encoded, image_size, read_image
from fcnjax.data.readers.limits import MAX_PIXELS, VARIABLE, max_pixels
from fcnjax.data.readers.raster.bands import read_bands, read_mask_values
from fcnjax.errors import UserError

READERS = (image_size, is_colour, read_colours, read_image, read_mask, read_palette)


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def bomb(width, height):
    """A PNG of a few bytes whose header claims a grey picture of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def assert_error(read, *words):
    with pytest.raises(UserError) as raised:
        read()
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("read", READERS)
def test_header_claiming_a_billion_pixels_is_refused(tmp_path, read):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(40000, 40000))
    tracemalloc.start()
    words = ("40000x40000", "1600000000 pixels", f"limit is {MAX_PIXELS}", VARIABLE)
    assert_error(lambda: read(path), str(path), *words)
    assert_error(lambda: read(Encoded(path.read_bytes(), "row 3", "set")), "row 3: is", *words)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_variable_sets_the_limit(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.full((5, 8, 3), 7, np.uint8)).save(path)
    monkeypatch.setenv(VARIABLE, "40")
    assert (read_image(path) == 7).all()
    assert read_mask(path).shape == image_size(path) == (5, 8)
    monkeypatch.setenv(VARIABLE, "39")
    for read in READERS:
        assert_error(
            lambda read=read: read(path), f"{path}: is 8x5, 40 pixels", "39", f"{VARIABLE}=40"
        )


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e9", "²"])
def test_invalid_variable_is_refused(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    assert_error(max_pixels, f"{VARIABLE}: {text!r}", "whole number")


def test_empty_variable_keeps_the_default(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    assert max_pixels() == MAX_PIXELS == 500_000_000


def test_limit_applies_to_the_window_of_a_raster(tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    path, place = tmp_path / "a.tif", rasterio.Affine(10, 0, 0, 0, -10, 0)
    options = {"height": 20, "width": 30, "count": 1, "dtype": "uint8", "transform": place}
    with rasterio.open(path, "w", **options) as raster:
        raster.write(np.arange(600, dtype=np.uint32).astype(np.uint8).reshape(1, 20, 30))
    monkeypatch.setenv(VARIABLE, "48")
    assert read_bands(path, ("1",), (2, 3, 6, 8)).shape == (6, 8, 1)
    assert read_mask_values(path, (2, 3, 6, 8))[0, 0] == 63
    for read in (
        lambda window: read_bands(path, ("1",), window),
        lambda w: read_mask_values(path, w),
    ):
        assert_error(
            lambda read=read: read((0, 0, 7, 7)), str(path), "window", "7x7", f"{VARIABLE}=49"
        )
        assert_error(lambda read=read: read(None), str(path), "30x20", f"{VARIABLE}=600")


def test_limit_applies_to_masks_in_labelme_files(tmp_path):
    for stem in "ab":
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{stem}.png")
        mask = base64.b64encode(bomb(40000, 40000)).decode()
        shape = {"label": "cat", "shape_type": "mask", "points": [[0, 0], [3, 3]], "mask": mask}
        content = {"shapes": [shape], "imagePath": f"{stem}.png"}
        (tmp_path / f"{stem}.json").write_text(json.dumps(content))
    config = default_config()
    set_data(config, source="labelme", root=str(tmp_path))
    source = open_source(resolve(config)[0], "train")
    assert_error(
        lambda: source[0], "json, shape 1: 'mask' cannot be read: is 40000x40000", VARIABLE
    )


def test_limit_applies_to_images_in_labelme_files(tmp_path):
    for stem in "ab":
        data = base64.b64encode(bomb(40000, 40000)).decode()
        content = {"shapes": [{"label": "cat", "points": [[0, 0]]}], "imageData": data}
        (tmp_path / f"{stem}.json").write_text(json.dumps(content))
    config = default_config()
    set_data(config, source="labelme", root=str(tmp_path))
    source = open_source(resolve(config)[0], "train")
    for read in (source.size, source.__getitem__):
        assert_error(lambda read=read: read(0), "json: imageData: is 40000x40000", VARIABLE)


def test_bomb_helper_writes_a_valid_header():
    buffer = io.BytesIO(bomb(10, 20))
    with Image.open(buffer) as image:
        assert (image.size, np.asarray(image).max()) == ((10, 20), 0)


def test_sparse_raster_is_limited_by_its_file_size(tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    path, place = tmp_path / "a.tif", rasterio.Affine(10, 0, 0, 0, -10, 0)
    options = {"height": 9000, "width": 9000, "count": 4, "dtype": "uint16", "transform": place}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", **options, **tiles):
        pass
    assert path.stat().st_size < 20_000
    monkeypatch.delenv(VARIABLE, raising=False)
    words = ("a.tif: is 9000x9000 pixels of", "for a file of", VARIABLE)
    assert_error(lambda: read_bands(path, ("1", "2", "3", "4")), *words)
    assert_error(lambda: read_image(path, "1,2,3,4"), *words)
    assert_error(lambda: image_size(path), *words)
    assert not read_bands(path, ("1", "2", "3", "4"), (8000, 8000, 10, 10)).any()
