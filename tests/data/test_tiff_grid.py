"""TIFF files of many kinds are read as they were written, or refused by name; never otherwise."""

import numpy as np
import pytest
import tiff_grid

from fcnjax.data.bands import read_bands
from fcnjax.data.decode import image_size, read_image
from fcnjax.errors import UserError

FEATURES = tiff_grid.features()


def by_path(path, case):
    return read_image(path, case.channels, case.pages)


def by_predict(path, case):
    from fcnjax.predict.label import Item, _read

    image, error, _ = _read(Item(0, "a", str(path)), case.channels, case.pages)
    if error is not None:
        raise UserError(error)
    return image


def by_serve(path, case):
    from fcnjax.serve.images import decode
    from fcnjax.serve.refusal import Refused

    try:
        return decode(path.read_bytes(), case.channels, 10**6, case.pages)
    except Refused as error:
        raise UserError(error.message) from error


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
    """Rasterio reads the same, or the file is refused."""
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
def test_a_file_is_read_as_it_was_written(case, tmp_path):
    assert_right(case, tmp_path / "a.tif")


@pytest.mark.slow
@pytest.mark.parametrize("grid", [tiff_grid.tifffile_grid, tiff_grid.rasterio_grid])
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
