import numpy as np
import pytest

from fcnjax.data.loading import tiles

SHAPES = [((1, 1), "u1"), ((256, 512), "u1"), ((300, 270, 3), "u1"), ((130, 70, 5), "f4")]


def stored(shape, dtype):
    """Return a random array, its tiled form, and the list of tiles that were read."""
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    records, seen = list(tiles.split_tiles(array)), []

    def read(places):
        seen.extend(places)
        return [records[place] for place in places]

    assert len(records) == tiles.tile_count(array.dtype, array.shape)
    return array, tiles.TiledArray(read, array.dtype, array.shape), seen


@pytest.mark.parametrize(("shape", "dtype"), SHAPES)
def test_any_window_equals_the_array(shape, dtype):
    array, tiled, _ = stored(shape, dtype)
    assert (tiled.shape, tiled.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(np.asarray(tiled), array)
    rng = np.random.default_rng(1)
    for _ in range(50):
        (a, b), (c, d) = (sorted(rng.integers(0, side + 1, 2)) for side in shape[:2])
        found = tiled[a:b, c:d]
        np.testing.assert_array_equal(found, array[a:b, c:d])
        assert found.dtype == array.dtype
    np.testing.assert_array_equal(tiled[-20:, :5], array[-20:, :5])


def test_window_reads_only_its_tiles():
    _, tiled, seen = stored((300, 500, 3), "u1")  # tiles of 128: 3 rows of 4
    tiled[100:140, 250:260]
    assert seen == [1, 2, 5, 6]
    del seen[:]
    tiled[128:256, 0:128]
    assert seen == [4]
    del seen[:]
    assert tiled[5:5, 0:9].shape == (0, 9, 3)
    assert not seen


@pytest.mark.parametrize(
    ("shape", "side"), [((9, 9), 256), ((9, 9, 1), 256), ((9, 9, 3), 128), ((9, 9, 40), 64)]
)
def test_tile_side(shape, side):
    assert tiles.tile_side(np.dtype("u1"), shape) == side
