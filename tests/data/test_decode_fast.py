"""Plain PNG and JPEG files are decoded by a faster library, to the same pixels as by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from fcnjax.data.labels.mask_files import read_mask
from fcnjax.data.readers.decode import _decode_fast, read_image

RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (9, 12, 3), np.uint8)).resize((61, 47))
GREY = SMOOTH.convert("L")


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PLAIN = {
    "png": encoded(SMOOTH, "PNG"),
    "grey png": encoded(GREY, "PNG"),
    "4:4:4": encoded(SMOOTH, "JPEG", quality=92, subsampling=0),
    "4:2:2": encoded(SMOOTH, "JPEG", quality=70, subsampling=1),
    "4:2:0": encoded(SMOOTH, "JPEG", quality=80, subsampling=2),
    "progressive": encoded(SMOOTH, "JPEG", progressive=True),
    "restarts": encoded(SMOOTH, "JPEG", restart_marker_rows=1),
    "rgb": encoded(SMOOTH, "JPEG", keep_rgb=True),
    "grey": encoded(GREY, "JPEG"),
}
OTHERS = {
    "palette": encoded(SMOOTH.quantize(9), "PNG"),
    "alpha": encoded(SMOOTH.convert("RGBA"), "PNG"),
    "transparent colour": encoded(SMOOTH, "PNG", transparency=(1, 2, 3)),
    "transparent grey": encoded(GREY, "PNG", transparency=7),
    "bits": encoded(GREY.convert("1"), "PNG"),
    "16 bits": encoded(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)), "PNG"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_pixels_equal_those_of_pillow(name, tmp_path):
    content = PLAIN[name]
    image = Image.open(io.BytesIO(content))
    expected = np.asarray(image)
    np.testing.assert_array_equal(_decode_fast(content, image.format), expected)
    path = tmp_path / f"a.{image.format.lower()}"
    path.write_bytes(content)
    found = read_image(path, image.mode)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    assert found.dtype == np.uint8
    assert found.flags.writeable
    if image.mode == "L":
        np.testing.assert_array_equal(read_mask(path), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_left_to_slower_decoders(name):
    assert _decode_fast(OTHERS[name], "PNG") is None


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_truncated_files_are_left_to_slower_decoders(name, part):
    kind = "PNG" if "png" in name else "JPEG"
    assert _decode_fast(PLAIN[name][: int(part * len(PLAIN[name]))], kind) is None
