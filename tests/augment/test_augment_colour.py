"""Colour jitter, blur, noise and cutout, against references and properties."""

import colorsys

import cv2
import jax
import numpy as np
import pytest
from scipy import ndimage

from fcnjax.augment import augment_batch
from fcnjax.augment.colour import blur, shift_hue
from fcnjax.config import default_config

IGNORE = 255
SHIFT_HUE, BLUR = jax.jit(shift_hue), jax.jit(blur, static_argnums=2)


def make_config(channels=3, **augment):
    config = default_config()
    config.data.mean, config.data.std = (0.0,) * channels, (1.0,) * channels
    config.augment.update({"hflip": 0.0, **augment})
    return config


def change(images, seed=0, labels=None, **augment):
    config = make_config(images.shape[-1], crop=images.shape[1:3], **augment)
    labels = np.zeros(images.shape[:3], np.uint8) if labels is None else labels
    fn = jax.jit(lambda k, i, la: augment_batch(k, i, la, config))
    return jax.device_get(fn(jax.random.key(seed), images, labels))


def pictures(count, height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(count, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("turn", [0.0, 0.1, -0.3, 0.5, 1 / 3])
def test_shift_hue_matches_colorsys(turn):
    image = pictures(1, 8, 9)[0]
    image[0, 0], image[0, 1], image[0, 2] = 0.4, 0.0, (1.0, 1.0, 0.2)  # grey, black, two alike
    found = np.asarray(SHIFT_HUE(image, turn))
    for pixel, turned in zip(image.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        np.testing.assert_allclose(turned, expected, atol=2e-6)


def test_shift_hue_round_trips():
    image = pictures(1, 8, 9)[0]
    np.testing.assert_allclose(SHIFT_HUE(image, 1.0), image, atol=2e-6)
    np.testing.assert_allclose(SHIFT_HUE(SHIFT_HUE(image, 0.2), -0.2), image, atol=2e-6)


def test_hue_shift_covers_its_range():
    red = np.zeros((64, 2, 2, 3), np.float32)
    red[..., 0] = 1
    image, _ = change(red, hue=0.25)
    hues = [colorsys.rgb_to_hsv(*map(float, pixel))[0] for pixel in image[:, 0, 0]]
    hues = (np.asarray(hues) + 0.5) % 1 - 0.5
    assert -0.25 <= hues.min() < -0.15
    assert 0.15 < hues.max() <= 0.25


def test_grayscale_matches_opencv_and_its_probability():
    images = pictures(400, 4, 5)
    image, _ = change(images, grayscale=0.25)
    grey = (np.ptp(image, axis=-1) < 1e-6).all((1, 2))
    assert 0.25 * 400 - 5 * 8.7 < grey.sum() < 0.25 * 400 + 5 * 8.7
    np.testing.assert_allclose(image[~grey], images[~grey], atol=1e-6)
    for one, before in zip(image[grey], images[grey], strict=True):
        np.testing.assert_allclose(one[..., 0], cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_colour_options_skip_images_without_three_channels(channels):
    images = pictures(4, 16, 16, channels)
    same, _ = change(images, hue=0.5, grayscale=1.0, saturation=1.0)
    np.testing.assert_allclose(same, images, atol=1e-6)
    image, _ = change(images, blur=2.0, noise=0.1, cutout=1.0)
    assert image.shape == images.shape
    assert np.abs(image - images).mean() > 0.01


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0, 2.5])
def test_blur_matches_scipy(sigma):
    image = pictures(1, 20, 31)[0]
    found = BLUR(image, sigma, 9)
    expected = image
    if sigma:
        options = {"mode": "nearest", "radius": 9, "axes": (0, 1)}
        expected = ndimage.gaussian_filter(image, sigma, **options)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_blur_draws_sigma_per_example():
    """The second moment of a blurred point is the variance."""
    images = np.zeros((32, 31, 31, 1), np.float32)
    images[:, 15, 15] = 1
    image, _ = change(images, blur=2.0)
    np.testing.assert_allclose(image.sum((1, 2, 3)), 1, atol=1e-5)
    away = (np.arange(31) - 15.0) ** 2
    sigma = np.sqrt((image[..., 0].sum(2) * away).sum(1))
    assert sigma.max() <= 2
    assert sigma.max() > 1.7
    assert sigma.min() < 0.3


def test_noise_has_zero_mean_and_uniform_deviation():
    images = np.full((200, 32, 32, 2), 0.5, np.float32)
    image, _ = change(images, noise=0.1)
    noise = image - 0.5
    deviations = noise.std((1, 2, 3))
    assert deviations.max() <= 0.1 * 1.08
    assert deviations.mean() == pytest.approx(0.05, abs=5 * 0.1 / 12**0.5 / 200**0.5)
    # Each example's noise over its deviation is a normal draw, apart for each pixel and channel.
    normal = noise / deviations[:, None, None, None]
    assert abs(normal.mean()) < 0.01
    assert (normal**4).mean() == pytest.approx(3, abs=0.05)
    assert abs((normal[..., 0] * normal[..., 1]).mean()) < 0.02
    assert abs((normal[:, 1:] * normal[:, :-1]).mean()) < 0.02
    image, _ = change(np.ones((4, 8, 8, 1), np.float32), noise=1.0)
    assert image.max() == 1
    assert image.min() >= 0


@pytest.mark.parametrize("ignores", [False, True])
def test_cutout_is_a_rectangle_of_the_configured_size(ignores):
    images, labels = np.ones((400, 8, 12, 3), np.float32), np.ones((400, 8, 12), np.uint8)
    options = {"cutout": 0.5, "cutout_size": 0.25, "cutout_ignores": ignores}
    image, label = change(images, labels=labels, **options)
    assert set(np.unique(image)) == {0, 1}
    hole = (image == 0).all(-1)
    assert (hole == (image == 0).any(-1)).all()
    cut = hole.any((1, 2))
    assert 200 - 50 < cut.sum() < 200 + 50
    corners = set()
    for one in hole[cut]:
        rows, columns = one.any(1).nonzero()[0], one.any(0).nonzero()[0]
        assert one.sum() == 2 * 3
        assert (np.ptp(rows), np.ptp(columns)) == (1, 2)
        corners.add((rows[0], columns[0]))
    assert {y for y, _ in corners} == set(range(7))
    assert {x for _, x in corners} == set(range(10))
    np.testing.assert_array_equal(label, np.where(hole & ignores, IGNORE, 1))


def test_augmentations_draw_independently():
    images = pictures(8, 16, 16)
    hue, _ = change(images, hue=0.2)
    both, _ = change(images, hue=0.2, cutout=1.0)
    kept = (both != 0).any(-1)
    assert 0.9 < kept.mean() < 1
    np.testing.assert_array_equal(both[kept], hue[kept])
    # Nor do those of two choices go together.
    cut = change(images.repeat(50, 0), cutout=0.5, grayscale=0.5)[0]
    has_hole = (cut == 0).all(-1).any((1, 2))
    is_grey = (np.ptp(cut, axis=-1) < 1e-6).all((1, 2))
    assert abs(np.corrcoef(has_hole, is_grey)[0, 1]) < 5 / 400**0.5
