"""Layers that only some decoders use, against hand-computed numbers and plain JAX."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from padded_maps import EXTENT, assert_same_inside, padded, random

from fcnjax.models import layers
from fcnjax.models.layers import FeatureMap


@pytest.mark.parametrize("layer", [layers.SeparableConv(4, 2), layers.ConvTranspose4x4(4)])
def test_padding_is_invisible_to_convolutions(layer):
    x, bare = padded()
    variables = layer.init(jax.random.key(0), bare[0])
    assert_same_inside(layer.apply(variables, x), [layer.apply(variables, one) for one in bare])


@pytest.mark.parametrize("resize", [layers.resize_nearest_like, layers.resize_corners_like])
@pytest.mark.parametrize("canvas", [(18, 22), (13, 7)])
def test_padding_is_invisible_to_resizing(resize, canvas):
    x, bare = padded()
    sizes = [
        (min(2 * h, canvas[0]), max(w * canvas[1] // 11 - i, 1)) for i, (h, w) in enumerate(EXTENT)
    ]
    like = FeatureMap(jnp.zeros((3, *canvas, 1)), jnp.asarray(sizes))
    targets = [FeatureMap(jnp.zeros((1, *size, 1))) for size in sizes]
    result = resize(x, like)
    assert result.size == canvas
    assert_same_inside(result, [resize(*pair) for pair in zip(bare, targets, strict=True)])


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_adaptive_mean_has_torch_cells_and_ignores_padding(bins):
    x, bare = padded()
    result = layers.adaptive_mean(x, bins)
    expected = [layers.adaptive_mean(one, bins) for one in bare]
    assert_same_inside(result, expected)
    for one, mean in zip(bare, expected, strict=True):
        # Cells span from floor(i * size / bins) to ceil((i + 1) * size / bins).
        edges = [
            [(i * n // bins, ((i + 1) * n + bins - 1) // bins) for i in range(bins)]
            for n in one.size
        ]
        cells = [[one.data[0, a:b, c:d].mean((0, 1)) for c, d in edges[1]] for a, b in edges[0]]
        np.testing.assert_allclose(mean.data[0], cells, rtol=1e-4, atol=1e-6)


def resized(resize, values, width):
    x = FeatureMap(jnp.asarray(values, jnp.float32).reshape(1, 1, -1, 1))
    return resize(x, FeatureMap(jnp.zeros((1, 1, width, 1)))).data.ravel().tolist()


def test_resizing_by_hand():
    nearest, corners = layers.resize_nearest_like, layers.resize_corners_like
    assert resized(nearest, [1, 2], 4) == [1, 1, 2, 2]
    assert resized(nearest, [1, 2], 3) == [1, 1, 2]
    assert resized(nearest, [1, 2], 5) == [1, 1, 1, 2, 2]  # torch: floor(2 * 0.4) is 0
    assert resized(nearest, [1, 2, 3, 4], 2) == [1, 3]
    assert resized(corners, [0, 6], 4) == [0, 2, 4, 6]
    assert resized(corners, [0, 1, 4], 2) == [0, 4]
    assert resized(corners, [5, 1], 1) == [5]
    assert resized(corners, [5], 3) == [5, 5, 5]


def test_conv_transpose_of_a_pixel_is_the_kernel():
    """A single pixel becomes the kernel, cropped by the padding."""
    layer = layers.ConvTranspose4x4(2)
    x = FeatureMap(jnp.ones((1, 1, 1, 1)))
    variables = layer.init(jax.random.key(0), x)
    kernel = variables["params"]["transposed_kernel"][:, :, 0]
    np.testing.assert_allclose(layer.apply(variables, x).data[0], kernel[1:3, 1:3], rtol=1e-6)
    wide = layer.apply(variables, FeatureMap(jnp.zeros((1, 3, 3, 1)).at[0, 1, 1].set(1)))
    np.testing.assert_allclose(wide.data[0, 1:5, 1:5], kernel, rtol=1e-6)


def test_separable_conv_equals_flax():
    x = FeatureMap(random(2, 7, 8, 3))
    layer = layers.SeparableConv(5, dilation=2)
    params = layer.init(jax.random.key(0), x)["params"]
    depthwise = nn.Conv(3, (3, 3), kernel_dilation=2, feature_group_count=3, use_bias=False)
    expected = depthwise.apply({"params": params["depthwise"]}, x.data)
    expected = expected @ params["pointwise"]["kernel"][0, 0]
    result = layer.apply({"params": params}, x)
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-5)
