"""Layers that only some decoders use, against hand-computed numbers and plain JAX."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from padded_maps import assert_same_inside, initialised, on_padded, padded, random, resized_padded

from fcnjax.models import layers
from fcnjax.models.layers import FeatureMap


@pytest.mark.parametrize("layer", [layers.SeparableConv(4, 2), layers.ConvTranspose4x4(4)])
def test_padding_is_invisible_to_convolutions(layer):
    assert_same_inside(*on_padded(initialised(layer)))


@pytest.mark.parametrize("resize", [layers.resize_nearest_like, layers.resize_corners_like])
@pytest.mark.parametrize("canvas", [(18, 22), (13, 7)])
def test_padding_is_invisible_to_resizing(resize, canvas):
    result, alone = resized_padded(resize, canvas)
    assert result.size == canvas
    assert_same_inside(result, alone)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_adaptive_mean_has_torch_cells_and_ignores_padding(bins):
    result, expected = on_padded(lambda x: layers.adaptive_mean(x, bins))
    assert_same_inside(result, expected)
    _, bare = padded()
    for one, mean in zip(bare, expected, strict=True):
        # Cells span from floor(i * size / bins) to ceil((i + 1) * size / bins).
        edges = [
            [(i * n // bins, ((i + 1) * n + bins - 1) // bins) for i in range(bins)]
            for n in one.size
        ]
        cells = [[one.data[0, a:b, c:d].mean((0, 1)) for c, d in edges[1]] for a, b in edges[0]]
        np.testing.assert_allclose(mean.data[0], cells, rtol=1e-4, atol=1e-6)


def resized(resize, values, width):
    x = FeatureMap(np.asarray(values, np.float32).reshape(1, 1, -1, 1))
    like = FeatureMap(np.zeros((1, 1, width, 1)))
    return np.ravel(jax.jit(resize)(x, like).data).tolist()


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
    pixel = np.zeros((1, 3, 3, 1), np.float32)
    pixel[0, 1, 1] = 1

    @jax.jit
    def run(x, wide):
        result, variables = layer.init_with_output(jax.random.key(0), x)
        return variables["params"]["transposed_kernel"], result, layer.apply(variables, wide)

    maps = FeatureMap(pixel[:, 1:2, 1:2]), FeatureMap(pixel)
    kernel, result, wide = jax.device_get(run(*maps))
    kernel = kernel[:, :, 0]
    np.testing.assert_allclose(result.data[0], kernel[1:3, 1:3], rtol=1e-6)
    np.testing.assert_allclose(wide.data[0, 1:5, 1:5], kernel, rtol=1e-6)


def test_separable_conv_equals_flax():
    x = FeatureMap(random(2, 7, 8, 3))
    layer = layers.SeparableConv(5, dilation=2)
    result, variables = jax.device_get(jax.jit(layer.init_with_output)(jax.random.key(0), x))
    params = variables["params"]
    depthwise = nn.Conv(3, (3, 3), kernel_dilation=2, feature_group_count=3, use_bias=False)
    expected = np.asarray(jax.jit(depthwise.apply)({"params": params["depthwise"]}, x.data))
    expected = expected @ params["pointwise"]["kernel"][0, 0]
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-5)
