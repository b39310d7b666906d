import numpy as np
import pytest

from fcnjax.planner.fingerprint import Fingerprint, summarise
from fcnjax.planner.symmetry import asymmetry, layout_map


def fingerprint(*examples):
    return Fingerprint(len(examples), 1, examples, ("ground", "thing"), 1)


def example(label, image=None, ignore=255):
    image = np.zeros((*label.shape, 3), np.uint8) if image is None else image
    return summarise(image, label, 2, ignore)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_thickness_of_a_line_is_its_width(width):
    label = np.zeros((64, 400), np.uint8)
    label[20 : 20 + width] = 1
    assert fingerprint(example(label)).thickness[1] == pytest.approx(width)
    assert fingerprint(example(label.T)).thickness[1] == pytest.approx(width)


def test_thickness_of_a_square_is_half_its_side():
    label = np.zeros((64, 64), np.uint8)
    label[10:30, 10:30] = 1
    assert fingerprint(example(label)).thickness[1] == pytest.approx(10)


def test_absent_class_has_no_thickness_and_no_share():
    result = fingerprint(example(np.zeros((8, 8), np.uint8)))
    assert result.thickness[1] == np.inf
    assert result.shares.tolist() == [1, 0]


def test_ignored_pixels_do_not_count():
    label = np.zeros((10, 10), np.uint8)
    label[:5], label[9] = 255, 1
    result = fingerprint(example(label))
    np.testing.assert_allclose(result.shares, [0.8, 0.2])


def test_grey_images_are_recognised_by_equal_channels():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(256, size=(9, 9, 1), dtype=np.uint8), 3, -1)
    colour = grey.copy()
    colour[4, 4, 1] ^= 1
    label = np.zeros((9, 9), np.uint8)
    assert fingerprint(example(label, grey)).is_grey
    assert not fingerprint(example(label, grey), example(label, colour)).is_grey


@pytest.mark.parametrize(("dtype", "limit"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_mean_and_deviation_are_of_scaled_pixels(dtype, limit):
    image = np.zeros((4, 4, 1), dtype)
    image[:2] = limit if dtype != np.float32 else 1
    mean, std = fingerprint(example(np.zeros((4, 4), np.uint8), image)).mean_and_std
    np.testing.assert_allclose([mean[0], std[0]], [0.5, 0.5])


def layouts(count, draw, seed=0):
    """Maps of random images, in which `draw(rng)` gives the row and column of a disc, in 0..1."""
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(count):
        row, column = draw(rng)
        rows, columns = np.mgrid[:48, :48] / 48
        label = ((rows - row) ** 2 + (columns - column) ** 2 < 0.02).astype(np.int32)
        image = (rng.normal(128, 20, (48, 48, 1))).clip(0, 255).astype(np.uint8)
        maps.append(layout_map(image, label, 2))
    return np.stack(maps)


def test_discs_that_lie_below_show_which_side_is_up():
    maps = layouts(24, lambda rng: (rng.uniform(0.6, 0.9), rng.uniform(0.1, 0.9)))
    assert asymmetry(maps, "rows") < 0.01
    assert asymmetry(maps, "columns") > 0.1


def test_bright_sky_shows_which_side_is_up():
    rng = np.random.default_rng(0)
    maps = layouts(24, lambda rng: rng.uniform(0.1, 0.9, 2))
    assert asymmetry(maps, "rows") > 0.1
    label = np.zeros((48, 48), np.int32)
    sky = np.linspace(200, 100, 48)[:, None, None]
    lit = [
        layout_map((sky + rng.normal(0, 20, (48, 48, 1))).astype(np.float32), label, 2)
        for _ in range(24)
    ]
    assert asymmetry(np.stack(lit), "rows") < 0.01


def test_p_values_of_images_without_an_orientation_are_uniform():
    draws = [layouts(12, lambda rng: rng.uniform(0.1, 0.9, 2), seed) for seed in range(60)]
    values = np.asarray([asymmetry(maps, "columns") for maps in draws])
    # The standard error of a share of 60 is 0.06 here.
    assert 0.3 < (values < 0.5).mean() < 0.7
    assert (values < 0.05).mean() < 0.17


def test_few_images_say_nothing():
    assert asymmetry(layouts(7, lambda rng: (0.8, 0.2)), "rows") == 1
