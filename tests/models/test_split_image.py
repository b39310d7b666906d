"""Splitting and padding of images for a model, and the way back."""

import jax
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inference import make_model
from fcnjax.models import build_model, check_resize, restore_logits, show_input
from fcnjax.models.input_size import set_input_size
from fcnjax.models.layers import FeatureMap
from fcnjax.models.split_image import merge_squares, split_image

rng = np.random.default_rng(0)
split, merge = jax.jit(split_image, static_argnums=1), jax.jit(merge_squares)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def resize_keys(**values):
    resize = default_config().eval.resize
    resize.update(values)
    return resize


@pytest.mark.parametrize(
    ("size", "starts"),
    # As EomtImageProcessor of transformers 5.24 places them.
    [((53, 171), [0, 39, 78, 118]), ((150, 53), [0, 48, 97]), ((53, 53), [0]), ((54, 53), [0, 1])],
)
def test_squares_follow_the_longer_side(size, starts):
    x = draw(1, *size, 2)
    squares = jax.device_get(split(FeatureMap(x), 53))
    assert squares.extent is None
    assert squares.data.shape == (len(starts), 53, 53, 2)
    for square, start in zip(squares.data, starts, strict=True):
        expected = x[0, start : start + 53] if size[0] > size[1] else x[0, :, start : start + 53]
        np.testing.assert_array_equal(square, expected)


def test_merging_gives_the_mean_in_a_batch_of_mixed_sizes():
    sizes, side = ((8, 19), (23, 8), (8, 8)), 8
    canvas = np.full((3, 24, 20, 2), np.nan, np.float32)
    for row, (height, width) in enumerate(sizes):
        canvas[row, :height, :width] = draw(height, width, 2)
    x = FeatureMap(canvas, np.asarray(sizes))
    squares = jax.device_get(split(x, side))
    assert np.isfinite(squares.data).all()
    merged = jax.device_get(merge(squares.data, x))
    # Each square adds its number; pixels of two have the mean of both.
    numbers = np.arange(len(squares.data), dtype=np.float32)[:, None, None, None]
    means = jax.device_get(merge(np.broadcast_to(numbers, (len(numbers), side, side, 1)), x))
    for row, (height, width) in enumerate(sizes):
        valid = np.s_[row, :height, :width]
        np.testing.assert_allclose(merged.data[valid], canvas[valid], rtol=1e-6)
        alone = FeatureMap(canvas[row : row + 1, :height, :width])
        count = len(jax.eval_shape(lambda x: split_image(x, side), alone).data)
        values = 3 * row + np.arange(count, dtype=np.float32)[:, None, None, None]
        expected = merge(np.broadcast_to(values, (count, side, side, 1)), alone)
        np.testing.assert_allclose(means.data[valid], np.asarray(expected.data)[0], rtol=1e-6)
    np.testing.assert_array_equal(np.unique(means.data[0, :8, :19]), [0, 0.5, 1, 1.5, 2])


@pytest.mark.parametrize("keys", [{"size": (12, 12)}, {"size": (12,), "rule": "shortest_edge"}])
def test_padding_is_seen_and_taken_off(keys):
    resize = resize_keys(**{"rule": "stretch", "pad": "crop", **keys})
    stretch = resize_keys(**{**resize, "pad": "stretch"})
    x = FeatureMap(draw(2, 16, 16, 3), np.asarray([[12, 5], [7, 12]]))

    @jax.jit
    def run(x, like):
        shown = show_input(x, resize)
        restored = restore_logits(shown.data, x, x, resize, are_scores=False)
        return shown, restored, restore_logits(shown.data, x, like, stretch, are_scores=False)

    like = FeatureMap(np.zeros((2, 12, 12, 0), np.float32))
    shown, restored, stretched = jax.device_get(run(x, like))
    assert (shown.extent is None) == (len(keys["size"]) == 2)
    np.testing.assert_array_equal(shown.data[0, :12, 5:12], 0)
    np.testing.assert_array_equal(shown.data[1, :7, :12], x.data[1, :7, :12])
    np.testing.assert_allclose(restored[0, :12, :5], x.data[0, :12, :5])
    np.testing.assert_allclose(stretched, shown.data[:, :12, :12])


def test_scores_are_averaged_before_the_logarithm():
    resize = resize_keys(rule="shortest_edge", size=(2,), split=True)
    x = FeatureMap(np.zeros((1, 2, 3, 1), np.float32))
    scores = np.asarray([1.0, 3.0], np.float32)[:, None, None, None] * np.ones((2, 2, 2, 1))
    run = jax.jit(lambda logits, x: restore_logits(logits, x, x, resize, are_scores=True))
    logits = run(np.log(scores), x)
    np.testing.assert_allclose(np.exp(logits)[0, :, :, 0], [[1, 2, 3]] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": True}, "split: needs eval.resize.rule=shortest_edge"),
        ({"split": True, "rule": "shortest_edge", "size": (4, 8)}, "one number in"),
        ({"split": True, "rule": "shortest_edge", "size": (4,), "multiple": 2}, "multiple=1"),
        ({"pad": "crop"}, "pad: needs eval.resize.rule"),
        ({"pad": "crop", "rule": "stretch", "size": (4,), "crop": (2, 2)}, "pad: needs .*crop"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(UserError, match=message):
        check_resize(resize_keys(**keys))


def test_requested_sizes():
    published = {"rule": "shortest_edge", "size": (8, 8), "pad": "stretch"}
    for requested, pad in (("original", "stretch"), (None, "crop"), ("native", ""), ("9", "")):
        resize = resize_keys(**published)
        set_input_size(resize, requested)
        assert resize.pad == pad
    resize = resize_keys(rule="shortest_edge", size=(8,), split=True)
    set_input_size(resize, None)
    assert resize.split
    set_input_size(resize, "16")
    assert not resize.split


@pytest.mark.parametrize(
    "keys", [{"size": (16,), "split": True}, {"size": (16, 16), "pad": "stretch"}]
)
def test_a_batch_of_mixed_sizes_predicts_what_each_image_does(keys):
    config = default_config()
    config.data.class_names, config.data.pixel_type = ("a", "b", "c"), "uint8"
    options = "patch=4 width=16 depth=1 heads=2 hidden=16 queries=4 query_blocks=1"
    config.model.update({"encoder": "eomt_vit", "decoder": "eomt", "encoder_options": options})
    config.eval.resize.update({"rule": "shortest_edge", **keys})
    module = build_model(config)
    image = np.zeros((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda leaf: 0.4 * draw(*leaf.shape), shapes)
    model = make_model(config, module, variables, 0)
    images = [rng.integers(0, 255, (*size, 3), np.uint8) for size in ((20, 47), (33, 12))]
    for image, together in zip(images, model.batch(images), strict=True):
        alone = model(image)
        assert alone.mask.shape == image.shape[:2]
        np.testing.assert_allclose(together.probabilities, alone.probabilities, atol=1e-5)
