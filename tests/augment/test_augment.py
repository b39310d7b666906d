import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.augment import augment_batch, check_augment, to_unit
from fcnjax.config import default_config
from fcnjax.data.loading.canvas import crop_canvas
from fcnjax.errors import UserError

IGNORE = 255


def make_config(**augment):
    config = default_config()
    config.data.mean = (0.0, 0.0, 0.0)
    config.data.std = (1.0, 1.0, 1.0)
    config.augment.hflip = 0.0
    config.augment.update(augment)
    return config


def coordinate_picture(height, width):
    """Return float pixels that encode their position, and labels that encode it as one number."""
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([ys, xs, np.ones_like(ys)], -1)
    return image[None] / 256, (ys * width + xs).astype(np.int32)[None]


def run(config, images, labels, *, seed=0, **places):
    fn = jax.jit(lambda k, i, la, p: augment_batch(k, i, la, config, **p))
    return jax.device_get(fn(jax.random.key(seed), images, labels, places))


def drawn(config, labels, rows, extents=None):
    """Return the canvases that `crop_canvas` draws for rows of a dataset, in the order of a run."""
    corners, bounds = [], []
    for k, row in enumerate(rows):
        height, width = labels.shape[1:] if extents is None else extents[row]
        corner, bound = crop_canvas(labels[row, :height, :width], config, k)
        corners.append(corner)
        bounds.append(bound)
    return {"rows": np.asarray(rows), "corners": np.stack(corners), "bounds": np.stack(bounds)}


def test_no_augmentation_leaves_pixels_and_labels_unchanged():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 10, 3), np.uint8)
    labels = rng.integers(0, 4, (2, 8, 10), np.uint8)
    config = make_config(crop=(8, 10))
    config.data.mean, config.data.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    image, label = run(config, images, labels)
    expected = (images / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_array_equal(label, labels)


@pytest.mark.parametrize("flip", ["hflip", "vflip"])
def test_flips_apply_to_image_and_label(flip):
    images, labels = coordinate_picture(8, 10)
    image, label = run(make_config(crop=(8, 10), **{flip: 1.0}), images, labels)
    axis = {"hflip": 2, "vflip": 1}[flip]
    np.testing.assert_array_equal(image, np.flip(images, axis))
    np.testing.assert_array_equal(label, np.flip(labels, axis))


def test_random_crops_cover_the_image():
    images, labels = coordinate_picture(9, 11)
    config = make_config(crop=(4, 5))
    image, label = run(config, images, labels, **drawn(config, labels, [0] * 256))
    corners = set()
    for crop, ids in zip(image, label, strict=True):
        y, x = np.round(crop[0, 0, :2] * 256).astype(int)
        corners.add((y, x))
        np.testing.assert_array_equal(crop, images[0, y : y + 4, x : x + 5])
        np.testing.assert_array_equal(ids, labels[0, y : y + 4, x : x + 5])
    assert corners == {(y, x) for y in range(6) for x in range(7)}


def test_rotation_and_scale_apply_to_image_and_label_alike():
    images, labels = coordinate_picture(64, 80)
    config = make_config(crop=(24, 20), rotation=180.0, scale=(0.5, 2.0), hflip=0.5, vflip=0.5)
    config.data.ignore_label = IGNORED = -1
    image, label = run(config, images, labels, **drawn(config, labels, [0] * 16))
    inside = label != IGNORED
    assert 0.5 < inside.mean() < 1
    ys, xs = image[..., 0] * 256, image[..., 1] * 256
    label_y, label_x = np.divmod(label, 80)
    # The image says where it was read; the label was read at the nearest pixel.
    assert np.abs(ys - label_y)[inside].max() <= 0.5 + 1e-3
    assert np.abs(xs - label_x)[inside].max() <= 0.5 + 1e-3
    # Distances grow by 1 / zoom, the same in both directions.
    steps = np.hypot(np.diff(ys, axis=2), np.diff(xs, axis=2))
    for i in range(16):
        whole = inside[i, :, 1:] & inside[i, :, :-1]
        # Away from the clamped border the step is constant.
        step = np.median(steps[i][whole])
        assert 0.5 - 1e-3 <= step <= 2 + 1e-3


def test_pixels_outside_the_image_are_zero_and_ignored():
    images, labels = np.full((1, 4, 4, 3), 200, np.uint8), np.ones((1, 4, 4), np.uint8)
    config = make_config(crop=(8, 8), brightness=0.5)
    config.data.mean = (0.5, 0.5, 0.5)
    image, label = map(np.array, run(config, images, labels))
    assert (label[0, 2:6, 2:6] == 1).all()
    label[0, 2:6, 2:6] = IGNORE
    assert (label == IGNORE).all()
    image[0, 2:6, 2:6] = 0
    assert (image == 0).all()


def test_padding_of_smaller_images_is_never_sampled():
    images, labels = coordinate_picture(12, 12)
    images, labels = np.repeat(images, 2, 0), np.repeat(labels, 2, 0)
    extents, config = [[12, 12], [5, 6]], make_config(crop=(4, 4))
    places = drawn(config, labels, [1] * 64, extents)
    image, label = run(config, images, labels, **places)
    assert image[..., 0].max() * 256 == 4
    assert image[..., 1].max() * 256 == 5
    assert (label != IGNORE).all()


def test_crops_depend_on_the_key():
    images, labels = coordinate_picture(64, 64)
    config = make_config(crop=(16, 16), rotation=30.0, gamma=0.5)
    places = drawn(config, labels, [0] * 4)
    one, same, other = (run(config, images, labels, seed=s, **places)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len({crop.tobytes() for crop in one}) == 4


def test_brightness_contrast_saturation_and_gamma():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.4, 0.6, (8, 6, 6, 3)).astype(np.float32)
    labels = np.zeros((8, 6, 6), np.uint8)

    def change(**augment):
        return run(make_config(crop=(6, 6), **augment), images, labels)[0]

    shift = change(brightness=0.2) - images
    assert np.ptp(shift, axis=(1, 2, 3)).max() < 1e-6
    assert 0.05 < np.abs(shift).max() <= 0.2

    axes = (1, 2, 3)
    spread = change(contrast=0.5).std(axes) / images.std(axes)
    assert spread.min() >= 0.5
    assert spread.max() <= 1.5
    np.testing.assert_allclose(change(contrast=0.5).mean(axes), images.mean(axes), atol=1e-6)

    weights = np.asarray([0.299, 0.587, 0.114])
    np.testing.assert_allclose(change(saturation=0.9) @ weights, images @ weights, atol=1e-6)

    exponent = np.log(change(gamma=1.0)) / np.log(images)
    assert np.ptp(exponent, axis=(1, 2, 3)).max() < 1e-4
    assert 0.5 <= exponent.min() < exponent.max() <= 2


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1.0)])
def test_pixels_are_scaled_by_their_type(dtype, top):
    np.testing.assert_array_equal(to_unit(jnp.asarray([0, top], dtype)), [0.0, 1.0])


# Computed by the version that had no other options: trained figures depend on these draws.
MOVED = (
    {"crop": (16, 20), "hflip": 0.5, "vflip": 0.5},
    {"rows": (0, 1, 2, 1), "corners": ((10, 2), (22, 22), (24, 23), (11, 0))},
    3586388251,
    [
        [-1.87815750, -1.07282901, 2.60514188],
        [-0.06293341, -1.66806710, 2.57028365],
        [1.08442521, 0.03011216, 1.28052318],
        [0.48505875, -0.30252090, 1.36766922],
    ],
)
EVERYTHING = (
    {
        **{"crop": (16, 20), "scale": (0.75, 1.5), "rotation": 30.0, "hflip": 0.5, "vflip": 0.5},
        **{"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "gamma": 0.3},
    },
    {},
    766618262,
    [
        [-1.14698029, -0.15627937, 0.08990037],
        [-1.21955550, -1.03973103, 2.26397681],
        [0.50871265, 0.46211970, -0.81304371],
    ],
)


@pytest.mark.parametrize(("augment", "places", "checksum", "pixels"), [MOVED, EVERYTHING])
def test_crops_of_old_configs_are_unchanged(augment, places, checksum, pixels):
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (3, 40, 44, 3), np.uint8)
    labels = rng.integers(0, 200, (3, 40, 44), np.uint8)
    config = default_config()
    config.augment.update(augment)
    places = {name: np.asarray(value) for name, value in places.items()}
    image, label = run(config, images, labels, seed=3, **places)
    np.testing.assert_allclose(image[:, 5, 7], pixels, atol=2e-4)
    assert zlib.crc32(label.tobytes()) == checksum


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("crop", (0, 5)), ("scale", (2.0, 1.0)), ("hflip", 1.5), ("contrast", -1.0)],
        *[("gamma", -0.1), ("rotation", float("nan")), ("aspect", 3.0), ("shear", 61.0)],
        *[("perspective", 1.0), ("elastic", -1.0), ("elastic", 20.0), ("elastic_sigma", 0.0)],
        *[("quarter_turns", 1.1), ("hue", 0.6), ("grayscale", -0.1), ("blur", 9.0)],
        *[("noise", -0.1), ("cutout", 2.0), ("cutout_size", 0.0), ("mixup", 1.5)],
        *[("mixup_alpha", 0.0), ("cutmix", -0.5), ("classmix", 2.0), ("mosaic", float("nan"))],
    ],
)
def test_out_of_range_values_raise(key, value):
    with pytest.raises(UserError, match=rf"config\.augment\.{key}: ") as caught:
        check_augment(make_config(**{key: value}).augment)
    assert "\n" not in str(caught.value)


def test_mixing_probabilities_sum_to_at_most_one():
    check_augment(make_config(mixup=0.25, cutmix=0.25, classmix=0.25, mosaic=0.25).augment)
    with pytest.raises(UserError, match=r"mixup, cutmix, classmix, mosaic sum to 1\.2"):
        check_augment(make_config(mixup=0.6, mosaic=0.6).augment)


@pytest.mark.parametrize("flip", ["hflip", "vflip"])
def test_flip_swaps_left_and_right_classes(flip):
    labels = np.asarray([[[1, 0, 2, IGNORE], [3, 0, 2, 1]]], np.uint8)
    images = np.zeros((1, 2, 4, 3), np.uint8)
    config = make_config(crop=(2, 4), **{flip: 1.0})
    config.data.class_names = ("ground", "left", "right", "nose")
    config.data.labels.mirror_pairs = (("left", "right"),)
    _, found = run(config, images, labels)
    axis = {"hflip": 2, "vflip": 1}[flip]
    expected = np.asarray([0, 2, 1, 3])[np.where(labels == IGNORE, 0, labels)]
    expected = np.flip(np.where(labels == IGNORE, IGNORE, expected), axis)
    np.testing.assert_array_equal(found, expected)
    # Both ways is a turn by half: what was left is left.
    config.augment.hflip = config.augment.vflip = 1.0
    _, found = run(config, images, labels)
    np.testing.assert_array_equal(found, labels[:, ::-1, ::-1])


def test_random_flips_swap_classes_of_flipped_examples_only():
    images, _ = coordinate_picture(4, 6)
    labels = np.full((1, 4, 6), 1, np.uint8)
    config = make_config(crop=(4, 6), hflip=0.5, vflip=0.5, rotation=20.0)
    config.data.class_names, config.data.labels.mirror_pairs = ("a", "b", "c"), (("b", "c"),)
    image, label = run(config, *(np.repeat(array, 64, 0) for array in (images, labels)))
    rows, columns = image[..., 0] * 256, image[..., 1] * 256
    # The sense of turning from rows to columns in the middle of the crop.
    down = [(x[:, 2, 2] - x[:, 1, 2]) for x in (rows, columns)]
    right = [(x[:, 1, 3] - x[:, 1, 2]) for x in (rows, columns)]
    mirrored = down[0] * right[1] - down[1] * right[0] < 0
    assert 10 < mirrored.sum() < 54
    np.testing.assert_array_equal(label[:, 1, 2], np.where(mirrored, 2, 1))
