"""Layers of Mask2Former against plain loops, and its options."""

import jax
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import build_model
from fcnjax.models.layers import FeatureMap
from fcnjax.models.layers.tokens.levels import join_levels, relative_positions, split_levels
from fcnjax.models.layers.tokens.sine_positions import sine_positions
from fcnjax.models.layers.transformer.deformable_attention import DeformableAttention, sample_points
from fcnjax.models.layers.transformer.dot_product import dot_product
from fcnjax.models.layers.transformer.masked_attention import visible_pixels

SMALL = (
    "queries=3 depth=2 hidden=8 heads=2 pixel_width=8 pixel_depth=1 pixel_hidden=8 mask_width=4 "
    "score_size=12"
)


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def bilinear(values, x, y):
    """Return the value of `[H, W, C]` at a point; zero outside."""
    total = np.zeros(values.shape[-1])
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < values.shape[0] and 0 <= column < values.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * values[row, column]
    return total


@pytest.mark.parametrize("extent", [None, (3, 2)])
def test_points_are_interpolated_within_the_extent(extent):
    values, positions, weights = draw(1, 4, 3, 4), 3 * draw(1, 5, 2, 3, 2), draw(1, 5, 2, 3)
    level = FeatureMap(values, None if extent is None else np.asarray([extent]))
    result = np.asarray(jax.jit(sample_points)(level, positions, weights))[0]
    height, width = extent or (4, 3)
    valid = values[0, :height, :width].reshape(height, width, 2, 2)
    for token in range(5):
        expected = [
            sum(
                weights[0, token, head, p]
                * bilinear(valid[:, :, head], *positions[0, token, head, p])
                for p in range(3)
            )
            for head in range(2)
        ]
        np.testing.assert_allclose(result[token], np.ravel(expected), atol=1e-5)


def test_deformable_attention_begins_around_each_pixel():
    """With constant values, the result is that value, but at the edges, beyond which it is 0."""
    layer = DeformableAttention(4, 1)
    levels = [FeatureMap(np.zeros((1, side, side, 4), np.float32)) for side in (8, 16)]
    tokens = np.ones((1, 8 * 8 + 16 * 16, 4), np.float32)

    @jax.jit
    def run(tokens, levels):
        result, variables = layer.init_with_output(jax.random.key(0), tokens, tokens, levels)
        return split_levels(result, levels)[1].data, variables

    result, variables = jax.device_get(run(tokens, levels))
    offsets = variables["params"]["sampling_offsets"]["bias"].reshape(4, 2, 2)
    np.testing.assert_allclose(offsets[:, 0], [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-6)
    inner = result[0, 4:-4, 4:-4]
    np.testing.assert_allclose(inner, np.broadcast_to(inner[0, 0], inner.shape), atol=1e-6)
    assert np.abs(result[0, 0, 0] - inner[0, 0]).max() > 1e-3


def test_levels_are_joined_and_split():
    maps = [FeatureMap(draw(2, 2, 3, 4)), FeatureMap(draw(2, 4, 5, 4))]

    @jax.jit
    def run(maps):
        tokens = join_levels([level.data for level in maps])
        return split_levels(tokens, maps), relative_positions(maps)

    levels, positions = jax.device_get(run(maps))
    for ours, level in zip(levels, maps, strict=True):
        np.testing.assert_array_equal(ours.data, level.data)
    np.testing.assert_allclose(positions[0, :2], [[1 / 6, 1 / 4], [1 / 2, 1 / 4]], rtol=1e-6)


def test_sine_positions_fill_the_extent():
    maps = [
        FeatureMap(np.zeros((1, 3, 2, 1))),
        FeatureMap(np.zeros((1, 5, 7, 1)), np.asarray([[3, 2]])),
    ]
    run = jax.jit(lambda maps: [sine_positions(x, 8) for x in maps])
    alone, padded = jax.device_get(run(maps))
    np.testing.assert_array_equal(padded[:, :3, :2], alone)
    # The last row and column are a full circle.
    np.testing.assert_allclose(alone[0, -1, -1, :2], [0, 1], atol=1e-5)


def test_queries_without_a_mask_see_everything():
    masks = np.stack([np.eye(2), -np.ones((2, 2))], -1)[None] - 0.5
    maps = [FeatureMap(masks), FeatureMap(masks, np.asarray([[2, 1]]))]
    full, narrow = jax.device_get(jax.jit(lambda maps: [visible_pixels(x) for x in maps])(maps))
    np.testing.assert_array_equal(full[0], [[1, 0, 0, 1], [1] * 4])
    np.testing.assert_array_equal(narrow[0], [[1, 0, 0, 0], [1, 0, 1, 0]])


def test_attention_is_that_of_jax():
    query, key, value = draw(2, 5, 2, 4), 2 * draw(2, 7, 2, 4), draw(2, 7, 2, 4)
    bias, mask = draw(1, 2, 5, 7), draw(2, 1, 5, 7) > -0.5

    @jax.jit
    def run(*args):
        qkv, (bias, mask) = args[:3], args[3:]
        expected = jax.nn.dot_product_attention(*qkv, bias=bias, mask=mask)
        return dot_product(*args), expected

    ours, expected = jax.device_get(run(query, key, value, bias, mask))
    np.testing.assert_allclose(ours, expected.reshape(2, 5, 8), atol=1e-6)


def build(options=SMALL, **keys):
    config = default_config()
    config.data.class_names = ("a", "b", "c")
    model = {"encoder": "vanilla", "widths": (4, 4, 4, 4), "decoder": "mask2former"}
    model["decoder_width"] = 8
    config.model.update({**model, "decoder_options": options, **keys})
    return build_model(config)


def test_scores_are_shares_of_the_queries():
    """The sum of a pixel's scores is at most the number of queries."""
    model, image = build(), draw(1, 33, 50, 3)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    outputs, state = jax.jit(lambda v: model.apply(v, image, mutable=["intermediates"]))(variables)
    scores = np.exp(outputs["logits"])
    assert scores.shape == (1, 33, 50, 3)
    assert (scores > 0).all()
    assert (scores.sum(-1) < 3).all()
    decoder = state["intermediates"]["decoder"]
    assert decoder["class_queries"][0].shape == (1, 3, 4)
    assert decoder["mask_queries"][0].shape == (1, 3, 33, 50)


@pytest.mark.parametrize(
    ("options", "keys", "message"),
    [
        ("heads=3", {}, r"decoder_options: width is 8; valid: a multiple of 4 and of heads, 3"),
        ("heads=2 pixel_width=6", {}, r"decoder_options: pixel_width is 6"),
        ("heads=2 hidden_activation=tanh", {}, r"hidden_activation is 'tanh'; valid: relu"),
        ("heads=2 skips=4", {}, r"skips is 4; valid: 0\.\.3"),
        ("queries=x", {}, r"decoder_options: queries"),
    ],
)
def test_invalid_options_are_named(options, keys, message):
    with pytest.raises(UserError, match=message):
        build(options, **keys)
