"""Layers that only some encoders use, against hand-computed numbers and plain JAX."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from padded_maps import assert_same_inside, initialised, on_padded, random

from fcnjax.models import layers
from fcnjax.models.layers import FeatureMap

PATCHES = layers.Conv(6, kernel=4, stride=4, padding=0)
POOLINGS = [
    {},
    {"kernel": 3},
    {"partial": True},
    {"stride": 1, "partial": True, "count_outside": True},
]


@pytest.mark.parametrize("layer", [PATCHES, layers.Conv(8, kernel=3, groups=4)])
def test_padding_is_invisible_to_convolutions(layer):
    assert_same_inside(*on_padded(initialised(layer), channels=4))


@pytest.mark.parametrize("options", POOLINGS)
def test_padding_is_invisible_to_mean_pooling(options):
    assert_same_inside(*on_padded(lambda x: layers.mean_pool(x, **options), channels=4))


def test_padding_is_invisible_to_layer_norm():
    assert_same_inside(*on_padded(initialised(layers.LayerNorm()), channels=4))


def pooled(values, **options):
    x = FeatureMap(np.asarray(values, np.float32)[None, :, :, None])
    result = jax.jit(lambda x: layers.mean_pool(x, **options).data)(x)
    return np.asarray(result)[0, :, :, 0].tolist()


def test_mean_pool_by_hand():
    rows = [[1, 3, 8], [5, 7, 4]]
    assert pooled(rows) == [[4]]
    assert pooled(rows, partial=True) == [[4, 6]]
    assert pooled(rows, stride=1, partial=True, count_outside=True) == [[4, 5.5, 3], [3, 2.75, 1]]
    assert pooled([[6]]) == [[6]]


def test_mean_pool_has_the_gradient_of_a_mean():
    @jax.jit
    @jax.grad
    def gradient(data):
        return layers.mean_pool(FeatureMap(data), partial=True).data.sum()

    expected = [[0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.5, 0.5, 1]]
    result = np.asarray(gradient(np.ones((1, 3, 3, 1), np.float32)))
    np.testing.assert_array_equal(result[0, :, :, 0], expected)


def test_convolution_pads_images_smaller_than_the_kernel():
    """An image smaller than a patch is zero-padded at the lower right."""
    data = random(1, 3, 5, 2)
    whole = np.pad(data[:, :, :4], [(0, 0), (0, 1), (0, 0), (0, 0)])
    run = jax.jit(lambda *maps: [initialised(PATCHES)(FeatureMap(x)).data for x in maps])
    result, expected = run(data, whole)
    assert result.shape == (1, 1, 1, 6)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolution_equals_flax(groups):
    x = FeatureMap(random(2, 6, 7, 4))
    layer = layers.Conv(8, kernel=3, groups=groups)
    result, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
    expected = jax.jit(nn.Conv(8, (3, 3), feature_group_count=groups).apply)(variables, x.data)
    assert variables["params"]["kernel"].shape == (3, 3, 4 // groups, 8)
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_equals_flax():
    x = FeatureMap(1e3 + random(2, 3, 5, 8))
    variables = {"params": {"scale": random(8), "bias": random(8, seed=1)}}
    reference = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False)
    expected = jax.jit(reference.apply)(variables, x.data)
    result = jax.jit(layers.LayerNorm().apply)(variables, x)
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-4)
    half = jax.jit(layers.LayerNorm(dtype=jnp.bfloat16).apply)(variables, x).data
    assert half.dtype == jnp.bfloat16


def test_drop_path_drops_examples_and_keeps_the_mean():
    layer = jax.jit(layers.DropPath(0.25).apply, static_argnums=2)
    x = FeatureMap(np.ones((400, 2, 3, 2), np.float32))
    dropped = np.asarray(layer({}, x, True, rngs={"dropout": jax.random.key(0)}).data)
    for example in dropped:
        assert len(np.unique(example)) == 1
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert abs(dropped.mean() - 1) < 0.1
    np.testing.assert_array_equal(layer({}, x, False).data, x.data)


def test_drop_path_drops_an_example_together_after_space_to_batch():
    @jax.jit
    def run(x, key):
        x = layers.space_to_batch(x, 2)
        x = layers.DropPath(0.5).apply({}, x, True, rngs={"dropout": key})
        return layers.space_to_batch(x, 1).data

    x = FeatureMap(np.ones((40, 4, 4, 2), np.float32))
    dropped = np.asarray(run(x, jax.random.key(0)))
    assert all(len(np.unique(example)) == 1 for example in dropped)
    np.testing.assert_array_equal(np.unique(dropped), [0, 2])
