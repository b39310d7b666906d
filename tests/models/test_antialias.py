"""Resizing of photographs equals Pillow's to within a level."""

import jax
import numpy as np
import pytest
from PIL import Image

from fcnjax.models.layers import FeatureMap
from fcnjax.models.layers.antialias import FILTER_NAMES, resize_image

resize = jax.jit(resize_image, static_argnums=2)
PILLOW = {name: getattr(Image.Resampling, name.upper()) for name in FILTER_NAMES}


def photo(height, width):
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def like(sizes, canvas=None):
    sizes = np.asarray(sizes, np.int32)
    canvas = canvas or tuple(sizes.max(0))
    extent = None if (sizes == canvas).all() else sizes
    return FeatureMap(np.zeros((len(sizes), *canvas, 0)), extent)


@pytest.mark.parametrize("name", FILTER_NAMES)
@pytest.mark.parametrize("size", [(19, 29), (61, 90), (7, 64), (1, 1)])
def test_it_equals_pillow(name, size):
    image = photo(47, 61)  # from odd to odd sides, no pixel lies on the edge of a box
    ours = np.asarray(resize(FeatureMap(image[None]), like([size]), name).data)[0]
    # In two steps, since Pillow chooses which axis comes first.
    wide = Image.fromarray(image).resize((size[1], 47), PILLOW[name])
    theirs = np.asarray(wide.resize(size[::-1], PILLOW[name]))
    assert ours.dtype == np.uint8
    # Pillow's weights have more bits than torchvision's, and a bicubic one may be over 1.
    limits = {"nearest": 0, "bicubic": 2}
    assert np.abs(ours.astype(int) - theirs).max() <= limits.get(name, 1)


# Red of `photo(23, 17)`, resized to (5, 7) by torchvision 0.29 with antialias=True.
TORCHVISION = {
    "bilinear": """
        134 154 117 108 111 118 145 138 137 101 101 109 118 147 118 133 119 112 114 114 112 140 112
        135 125 125 133 109 155 157 129 116 142 109 97
    """,
    "bicubic": """
        131 158 115 108 112 115 148 140 140 96 97 110 115 152 114 137 121 111 112 115 109 142 104
        136 129 125 138 108 157 161 126 111 144 107 94
    """,
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_images_of_8_bits_equal_torchvision(name):
    image = FeatureMap(photo(23, 17)[None])
    ours = np.asarray(resize(image, like([(5, 7)]), name).data)[0, :, :, 0]
    np.testing.assert_array_equal(np.ravel(ours), np.asarray(TORCHVISION[name].split(), int))


def test_each_example_of_a_padded_batch_is_resized_by_its_own_size():
    images, new = [photo(30, 41), photo(44, 25)], [(17, 50), (29, 12)]
    padded = np.full((2, 48, 48, 3), 255, np.uint8)
    for row, image in enumerate(images):
        padded[row, : image.shape[0], : image.shape[1]] = image
    extent = np.asarray([image.shape[:2] for image in images], np.int32)
    together = resize(FeatureMap(padded, extent), like(new, (32, 64)), "bicubic")
    together = np.asarray(together.data, int)
    for row, (image, (height, width)) in enumerate(zip(images, new, strict=True)):
        alone = resize(FeatureMap(image[None]), like([(height, width)]), "bicubic").data
        assert np.abs(together[row, :height, :width] - np.asarray(alone)[0]).max() <= 1


def test_floats_are_not_rounded_and_nan_outside_the_extent_is_ignored():
    image = np.full((1, 8, 8, 1), np.nan, np.float32)
    image[0, :4, :6, 0] = np.linspace(0, 1, 24).reshape(4, 6)
    x = FeatureMap(image, np.asarray([[4, 6]], np.int32))
    resized = np.asarray(resize(x, like([(2, 3)]), "bilinear").data)
    assert np.isfinite(resized).all()
    alone = FeatureMap(image[:, :4, :6])
    np.testing.assert_allclose(resized, resize(alone, like([(2, 3)]), "bilinear").data)
    np.testing.assert_allclose(resized.mean(), 0.5, atol=1e-6)
