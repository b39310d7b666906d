"""Coordinate maps, tested on images whose pixels encode their position."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from fcnjax.augment import augment_batch
from fcnjax.augment.geometry import MAX_ELASTIC_RATIO, crop_coordinates
from fcnjax.config import default_config
from fcnjax.data.loading.canvas import canvas_size

IGNORE = 255
EACH = {
    "quarter_turns": {"quarter_turns": 1.0},
    "aspect": {"aspect": 1.0},
    "shear": {"shear": 40.0},
    "perspective": {"perspective": 0.5},
    "elastic": {"elastic": 6.0, "elastic_sigma": 8.0},
}
ALL = {"rotation": 180.0, "scale": (0.7, 1.5), "hflip": 0.5, "vflip": 0.5}
ALL |= {key: value for options in EACH.values() for key, value in options.items()}


def make_config(**augment):
    config = default_config()
    config.data.mean, config.data.std = (0.0,) * 3, (1.0,) * 3
    config.augment.update({"hflip": 0.0, **augment})
    return config


def augmented(config, images, labels, seed):
    fn = jax.jit(lambda k, i, la: augment_batch(k, i, la, config))
    return jax.device_get(fn(jax.random.key(seed), images, labels))


def places(config, count=32, seed=0):
    """Return rows and columns `[count, h, w]` of crops, relative to the image centre."""
    keys = jax.random.split(jax.random.key(seed), count)
    draw = jax.jit(jax.vmap(lambda key: crop_coordinates(key, config.augment.crop, config.augment)))
    ys, xs = np.asarray(draw(keys), np.float64)
    height, width = config.augment.crop
    return ys - (height - 1) / 2, xs - (width - 1) / 2


def offsets(height, width):
    ys, xs = np.mgrid[:height, :width]
    return ys - (height - 1) / 2, xs - (width - 1) / 2


def fit(dy, dx, terms):
    """Return the least-squares coefficients `[2, terms]` of a map, and its largest error."""
    basis = np.stack([term.ravel() for term in terms], 1)
    goal = np.stack([dy.ravel(), dx.ravel()], 1)
    found = np.linalg.lstsq(basis, goal, rcond=None)[0]
    return found.T, np.abs(basis @ found - goal).max()


@pytest.mark.parametrize("options", [*EACH.values(), ALL], ids=[*EACH, "all"])
def test_image_and_label_are_sampled_at_the_same_coordinates(options):
    height, width = 64, 80
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    images = np.stack([ys, xs, np.ones_like(ys)], -1)[None] / 256
    labels = (ys * width + xs).astype(np.int32)[None]
    config = make_config(crop=(32, 32), **options)
    config.data.ignore_label = -1
    image, label = augmented(config, *(np.repeat(x, 16, 0) for x in (images, labels)), seed=0)
    inside = label != -1
    assert inside.mean() > 0.3
    assert set(np.unique(label)) <= {*range(height * width), -1}
    assert (image[~inside] == 0).all()
    label_y, label_x = np.divmod(label, width)
    assert np.abs(image[..., 0] * 256 - label_y)[inside].max() <= 0.5 + 1e-3
    assert np.abs(image[..., 1] * 256 - label_x)[inside].max() <= 0.5 + 1e-3


def test_sampling_matches_scipy_map_coordinates():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(1, 48, 48, 3)).astype(np.float32)
    labels = rng.integers(0, 5, (1, 48, 48), np.int32)
    config = make_config(crop=(32, 32), **EACH["elastic"], shear=10.0, perspective=0.2)

    @jax.jit
    def draw_place(key):
        # As augment_batch draws: a key an example, and of that one for the place.
        place = jax.random.split(jax.random.split(key, 1)[0])[0]
        return crop_coordinates(place, (48, 48), config.augment)

    ys, xs = np.asarray(draw_place(jax.random.key(5)))
    assert ys.min() > 0
    assert ys.max() < 47
    image, label = augmented(config, images, labels, seed=5)
    for channel in range(3):
        expected = ndimage.map_coordinates(images[0, ..., channel], [ys, xs], order=1)
        np.testing.assert_allclose(image[0, ..., channel], expected, atol=1e-5)
    expected = labels[0, np.rint(ys).astype(int), np.rint(xs).astype(int)]
    np.testing.assert_array_equal(label[0], expected)


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_quarter_turns_match_numpy_with_equal_probability(probability):
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 256, (1, 9, 9, 3), np.uint8), 300, 0)
    labels = images[..., 0].astype(np.int32) % 7
    turned = [np.rot90(images[0], k).tobytes() for k in range(4)]
    config = make_config(crop=(9, 9), quarter_turns=probability)
    image, label = augmented(config, images, labels, seed=1)
    image = np.rint(image * 255).astype(np.uint8)
    counts = np.zeros(4)
    for one, ids in zip(image, label, strict=True):
        k = turned.index(one.tobytes())
        np.testing.assert_array_equal(ids, np.rot90(labels[0], k))
        counts[k] += 1
    expected = np.asarray([1 - probability, *[probability / 3] * 3])
    # Five standard deviations.
    assert (np.abs(counts - 300 * expected) <= 5 * np.sqrt(300 * expected * (1 - expected))).all()


def test_non_square_crops_turn_by_180_degrees_only():
    images = np.random.default_rng(0).integers(0, 256, (1, 6, 9, 3), np.uint8)
    config = make_config(crop=(6, 9), quarter_turns=1.0)
    image, _ = augmented(config, images, images[..., 0], seed=1)
    np.testing.assert_allclose(image[0], images[0, ::-1, ::-1] / 255, atol=1e-6)
    assert canvas_size(config.augment) == (6, 9)


def test_aspect_keeps_the_area_and_respects_its_bounds():
    config = make_config(crop=(20, 30), aspect=1.0)
    dy, dx = offsets(20, 30)
    ratios = []
    for ys, xs in zip(*places(config), strict=True):
        matrix, error = fit(ys, xs, [dy, dx])
        assert error < 1e-4
        np.testing.assert_allclose([matrix[0, 1], matrix[1, 0]], 0, atol=1e-6)
        np.testing.assert_allclose(matrix[0, 0] * matrix[1, 1], 1, rtol=1e-5)
        ratios.append(np.log2(matrix[0, 0] / matrix[1, 1]))
    assert -1 <= min(ratios) < -0.7
    assert 0.7 < max(ratios) <= 1


def test_shear_is_along_one_axis_and_respects_its_angle():
    config = make_config(crop=(20, 30), shear=40.0)
    dy, dx = offsets(20, 30)
    angles = {"rows": [], "columns": []}
    for ys, xs in zip(*places(config), strict=True):
        matrix, error = fit(ys, xs, [dy, dx])
        assert error < 1e-4
        np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-5)
        down, aside = np.degrees(np.arctan([matrix[0, 1], matrix[1, 0]]))
        assert min(abs(down), abs(aside)) < 1e-4
        angles["rows" if abs(aside) > abs(down) else "columns"].append(down + aside)
    for found in angles.values():
        assert len(found) > 5
        assert -40 <= min(found) < -15
        assert 15 < max(found) <= 40


def test_perspective_keeps_lines_and_the_centre():
    config = make_config(crop=(21, 31), perspective=0.5)
    ys, xs = places(config)
    assert np.abs(ys[:, 10, 15]).max() < 1e-5
    assert np.abs(xs[:, 10, 15]).max() < 1e-5
    # Cross products of the way from one end of a row (and a column) to what lies between.
    for y, x in ((ys, xs), (ys.swapaxes(1, 2), xs.swapaxes(1, 2))):
        ay, ax = y - y[..., :1], x - x[..., :1]
        assert np.abs(ay * ax[..., -1:] - ax * ay[..., -1:]).max() < 2e-3
    # The change of depth at the corners: bounded, and the bound is nearly reached.
    dy, _ = offsets(21, 31)
    depth = dy[0, 0] / ys[:, 0, 0]
    assert 1 - 0.5 <= depth.min() < 0.75
    assert 1.25 < depth.max() <= 1.5


def test_elastic_displacements_are_bounded_smooth_and_injective():
    sigma = 8.0
    config = make_config(crop=(96, 112), elastic=MAX_ELASTIC_RATIO * sigma, elastic_sigma=sigma)
    ys, xs = places(config, count=64)
    dy, dx = offsets(96, 112)
    moved = np.stack([ys - dy, xs - dx])
    # A sum of uniform draws with squared weights that sum to w has the deviation A sqrt(w / 3); of
    # cubic B-splines w is 151 / 315 on average, each way.
    expected = MAX_ELASTIC_RATIO * sigma * (151 / 315) / 3**0.5
    assert moved.std() == pytest.approx(expected, rel=0.05)
    assert abs(moved.mean()) < 0.2
    assert np.abs(moved).max() <= MAX_ELASTIC_RATIO * sigma
    # The two directions, and two examples, are drawn apart.
    assert abs(np.corrcoef(moved[0].ravel(), moved[1].ravel())[0, 1]) < 0.1
    assert not np.allclose(moved[:, 0], moved[:, 1], atol=1)
    # Autocorrelation of noise blurred by a Gaussian: exp(-d ** 2 / (4 sigma ** 2)).
    for apart in (4, 8, 16):
        ahead, behind = moved[..., apart:], moved[..., :-apart]
        found = (ahead * behind).mean() / (moved**2).mean()
        assert found == pytest.approx(np.exp(-(apart**2) / (4 * sigma**2)), abs=0.06)
    area = np.gradient(ys, axis=1) * np.gradient(xs, axis=2)
    area -= np.gradient(ys, axis=2) * np.gradient(xs, axis=1)
    assert area.min() > 0


@pytest.mark.parametrize("crop", [(16, 20), (33, 7)])
@pytest.mark.parametrize(
    "options", [*EACH.values(), ALL, {**EACH["shear"], "rotation": 20.0}], ids=[*EACH, "all", "two"]
)
def test_canvas_contains_every_transformed_crop(crop, options):
    config = make_config(crop=crop, **options)
    reach = np.abs(places(config, count=2000)).max((1, 2, 3))
    for side, length, far in zip(canvas_size(config.augment), crop, reach, strict=True):
        assert (side - length) % 2 == 0  # one centre
        assert far <= (side - 1) / 2


@pytest.mark.parametrize(
    ("options", "canvas"),
    [
        ({"aspect": 2.0}, (194, 194)),  # 96 * 2 + 2
        ({"shear": 45.0}, (194, 194)),  # 96 * (1 + 1) + 2
        ({"perspective": 0.5}, (194, 194)),  # 96 / 0.5 + 2
        ({"elastic": 10.0}, (118, 118)),  # 96 + 20 + 2
        ({"elastic": 10.0, "scale": (0.5, 1.0)}, (234, 234)),  # 116 / 0.5 + 2
    ],
)
def test_canvas_is_tight(options, canvas):
    assert canvas_size(make_config(crop=(96, 96), **options).augment) == canvas
