"""Windows of the Swin Transformer, against plain loops, and its size."""

import itertools

import jax
import numpy as np
import pytest

from fcnjax.models import ENCODERS
from fcnjax.models.encoders.transformers.swin import Swin
from fcnjax.models.layers import FeatureMap, WindowAttention, merge_patches
from fcnjax.models.layers.transformer.windows import (
    merge_windows,
    relative_bias,
    shift_mask,
    split_windows,
)

SIDE, SHIFT = 3, 1


def test_number_of_parameters_matches_publication():
    encoder = ENCODERS["swin"].make(output_norm=False)
    image = FeatureMap(np.zeros((1, 33, 65, 3), np.float32))
    features, variables = jax.eval_shape(
        lambda: encoder.init_with_output(jax.random.key(0), image, False)
    )
    assert [f.size for f in features] == [(9, 17), (5, 9), (3, 5), (2, 3)]
    head = 768 * 1000 + 1000 + 2 * 768
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) + head == 28_288_354


def test_windows_are_split_and_merged():
    data = np.arange(2 * 6 * 9 * 2).reshape(2, 6, 9, 2)
    windows = split_windows(data, SIDE)
    assert windows.shape == (2, 6, 9, 2)
    np.testing.assert_array_equal(windows[0, 1].reshape(3, 3, 2), data[0, :3, 3:6])
    np.testing.assert_array_equal(merge_windows(windows, (6, 9), SIDE), data)


def test_bias_depends_on_the_offset_from_key_to_query():
    table = np.random.default_rng(0).standard_normal(((2 * SIDE - 1) ** 2, 2), np.float32)
    bias = np.asarray(jax.jit(relative_bias, static_argnums=1)(table, SIDE))
    pixels = list(itertools.product(range(SIDE), repeat=2))
    for (q, query), (k, key) in itertools.product(enumerate(pixels), repeat=2):
        row, column = (a - b + SIDE - 1 for a, b in zip(query, key, strict=True))
        np.testing.assert_array_equal(bias[:, q, k], table[row * (2 * SIDE - 1) + column])


def test_rolled_pixels_see_only_their_neighbours():
    x = FeatureMap(np.zeros((1, 6, 6, 1)))
    mask = np.asarray(jax.jit(shift_mask, static_argnums=(1, 2))(x, SIDE, SHIFT))[0, :, 0]
    assert mask.shape == (4, 9, 9)
    assert mask[0].all()
    # Of the window at the lower right, one row and one column come from the other end.
    parts = np.asarray([[0, 0, 1], [0, 0, 1], [2, 2, 3]]).ravel()
    np.testing.assert_array_equal(mask[3], parts[:, None] == parts)


def test_shifted_attention_does_not_cross_the_edges():
    """A pixel's result depends on its shifted window alone."""
    layer = WindowAttention(2, SIDE, SHIFT)
    x = np.random.default_rng(1).standard_normal((1, 6, 6, 4), np.float32)

    @jax.jit
    @jax.grad
    def gradient_of(x, row, column):
        result, _ = layer.init_with_output(jax.random.key(0), FeatureMap(x), False)
        return result.data[0, row, column].sum()

    for pixel, rows, columns in (((0, 0), (0, 1), (0, 1)), ((5, 2), (4, 6), (1, 4))):
        seen = np.abs(gradient_of(x, *pixel)[0]).sum(-1) > 0
        expected = np.zeros((6, 6), bool)
        expected[slice(*rows), slice(*columns)] = True
        np.testing.assert_array_equal(seen, expected)


def test_merged_patches_are_padded():
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 3, 2, 1)
    merged = np.asarray(jax.jit(merge_patches)(FeatureMap(x)).data)
    np.testing.assert_array_equal(merged[0, :, 0], [[1, 3, 2, 4], [5, 0, 6, 0]])


@pytest.mark.parametrize("options", [{"position_rows": 3, "position_columns": 5}, {"patch": 3}])
def test_padding_does_not_change_features(options):
    encoder = Swin((2, 1), (4, 8), heads=(1, 2), window=3, qkv_bias=False, **options)
    rng = np.random.default_rng(2)
    canvas, sizes = rng.standard_normal((2, 48, 40, 3), np.float32), ((33, 38), (7, 5))
    run = jax.jit(encoder.apply, static_argnums=2)
    padded = FeatureMap(canvas, np.asarray(sizes))
    variables = jax.jit(encoder.init, static_argnums=2)(jax.random.key(0), padded, False)
    together = jax.device_get(run(variables, padded, False))
    for i, (height, width) in enumerate(sizes):
        image = FeatureMap(canvas[i : i + 1, :height, :width])
        features = jax.device_get(run(variables, image, False))
        for ours, alone in zip(together, features, strict=True):
            rows, columns = alone.size
            np.testing.assert_array_equal(ours.extent[i], alone.size)
            np.testing.assert_allclose(ours.data[i, :rows, :columns], alone.data[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": (3, 2, 2, 2)}, "3 heads do not divide a width of 4"),
        ({"heads": (1, 2)}, "heads has 2 entries, and depths 4"),
        ({"hidden_activation": "tanh"}, "hidden_activation is 'tanh'; valid: relu"),
        ({"window": 0}, "window is 0"),
    ],
)
def test_invalid_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Swin((1, 1, 1, 1), (4, 8, 16, 32), **{"heads": (1, 1, 1, 1), **options})
