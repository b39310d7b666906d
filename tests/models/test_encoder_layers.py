"""Layers that only some encoders use, against hand-computed numbers and plain JAX."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from padded_maps import assert_same_inside, padded, random

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
    x, bare = padded(channels=4)
    variables = layer.init(jax.random.key(0), bare[0])
    assert_same_inside(layer.apply(variables, x), [layer.apply(variables, one) for one in bare])


@pytest.mark.parametrize("options", POOLINGS)
def test_padding_is_invisible_to_mean_pooling(options):
    x, bare = padded(channels=4)
    assert_same_inside(
        layers.mean_pool(x, **options), [layers.mean_pool(one, **options) for one in bare]
    )


def test_padding_is_invisible_to_layer_norm():
    x, bare = padded(channels=4)
    layer = layers.LayerNorm()
    variables = layer.init(jax.random.key(0), bare[0])
    assert_same_inside(layer.apply(variables, x), [layer.apply(variables, one) for one in bare])


def pooled(values, **options):
    x = FeatureMap(jnp.asarray(values, jnp.float32)[None, :, :, None])
    return layers.mean_pool(x, **options).data[0, :, :, 0].tolist()


def test_mean_pool_by_hand():
    rows = [[1, 3, 8], [5, 7, 4]]
    assert pooled(rows) == [[4]]
    assert pooled(rows, partial=True) == [[4, 6]]
    assert pooled(rows, stride=1, partial=True, count_outside=True) == [[4, 5.5, 3], [3, 2.75, 1]]
    assert pooled([[6]]) == [[6]]


def test_mean_pool_has_the_gradient_of_a_mean():
    gradient = jax.grad(lambda data: layers.mean_pool(FeatureMap(data), partial=True).data.sum())
    expected = [[0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.5, 0.5, 1]]
    np.testing.assert_array_equal(gradient(jnp.ones((1, 3, 3, 1)))[0, :, :, 0], expected)


def test_convolution_pads_images_smaller_than_the_kernel():
    """An image smaller than a patch is zero-padded at the lower right."""
    x = FeatureMap(random(1, 3, 5, 2))
    variables = PATCHES.init(jax.random.key(0), x)
    result = PATCHES.apply(variables, x).data
    assert result.shape == (1, 1, 1, 6)
    expected = FeatureMap(jnp.zeros((1, 4, 4, 2)).at[:, :3].set(x.data[:, :, :4]))
    np.testing.assert_allclose(
        result, PATCHES.apply(variables, expected).data, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolution_equals_flax(groups):
    x = FeatureMap(random(2, 6, 7, 4))
    layer = layers.Conv(8, kernel=3, groups=groups)
    variables = layer.init(jax.random.key(0), x)
    reference = nn.Conv(8, (3, 3), feature_group_count=groups)
    assert variables["params"]["kernel"].shape == (3, 3, 4 // groups, 8)
    np.testing.assert_allclose(
        layer.apply(variables, x).data, reference.apply(variables, x.data), rtol=1e-4, atol=1e-5
    )


def test_layer_norm_equals_flax():
    x = FeatureMap(1e3 + random(2, 3, 5, 8))
    variables = {"params": {"scale": random(8), "bias": random(8, seed=1)}}
    expected = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False).apply(variables, x.data)
    layer = layers.LayerNorm()
    np.testing.assert_allclose(layer.apply(variables, x).data, expected, rtol=1e-4, atol=1e-4)
    half = layers.LayerNorm(dtype=jnp.bfloat16).apply(variables, x).data
    assert half.dtype == jnp.bfloat16


def test_drop_path_drops_examples_and_keeps_the_mean():
    layer = layers.DropPath(0.25)
    x = FeatureMap(jnp.ones((400, 2, 3, 2)))
    dropped = np.asarray(layer.apply({}, x, True, rngs={"dropout": jax.random.key(0)}).data)
    for example in dropped:
        assert len(np.unique(example)) == 1
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert abs(dropped.mean() - 1) < 0.1
    np.testing.assert_array_equal(layer.apply({}, x, False).data, x.data)


def test_drop_path_drops_an_example_together_after_space_to_batch():
    x = layers.space_to_batch(FeatureMap(jnp.ones((40, 4, 4, 2))), 2)
    key = {"dropout": jax.random.key(0)}
    dropped = layers.space_to_batch(layers.DropPath(0.5).apply({}, x, True, rngs=key), 1).data
    assert all(len(np.unique(example)) == 1 for example in np.asarray(dropped))
    np.testing.assert_array_equal(np.unique(dropped), [0, 2])
