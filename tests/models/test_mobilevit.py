"""MobileNetV2 with TensorFlow's padding, MobileViTs, and the layers that only they use."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from padded_maps import assert_same_inside, initialised, on_padded, random

from fcnjax.models import ENCODERS, layers
from fcnjax.models.decoders.aspp import ASPPDecoder
from fcnjax.models.encoders.mobilenet_tf import MobileNetV2
from fcnjax.models.encoders.transformers.mobilevit import MobileViT
from fcnjax.models.layers import FeatureMap
from fcnjax.models.layers.transformer.patch_attention import merge_positions, split_positions

# Trainable parameters of the encoders of transformers 5.24 with default sizes.
COUNTS = {"mobilenet_v2_tf": 1_811_712, "mobilevit": 4_833_952, "mobilevit_v2": 4_388_841}


def shapes_of(encoder, height, width):
    """Return the shapes of features and variables."""
    image = FeatureMap(np.zeros((1, height, width, 3), np.float32))
    init = functools.partial(encoder.init_with_output, jax.random.key(0))
    return jax.eval_shape(lambda: init(image, False))


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters_matches_transformers(name):
    features, variables = shapes_of(ENCODERS[name].make(), 65, 99)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == COUNTS[name]
    encoder = ENCODERS[name].make()
    assert [f.data.shape for f in features] == [
        (1, -(-65 // s), -(-99 // s), c)
        for s, c in zip(encoder.strides, encoder.channels, strict=True)
    ]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_the_resolution_and_the_weights(name, output_stride):
    plain, dilated = ENCODERS[name].make(), ENCODERS[name].make(output_stride=output_stride)
    features, variables = shapes_of(dilated, 33, 40)
    assert [f.size for f in features] == [(-(-33 // s), -(-40 // s)) for s in dilated.strides]
    assert dilated.strides == tuple(min(s, output_stride) for s in plain.strides)
    expected = shapes_of(plain, 33, 40)[1]
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, expected)


def test_numbers_of_channels_are_rounded():
    encoder = MobileNetV2(depth_multiplier=0.35, output_stride=8)
    assert encoder.channels == (8, 8, 16, 32, 112)
    assert MobileNetV2(depth_multiplier=0.1, min_depth=2, divisor=2).channels == (2, 2, 4, 10, 32)


def test_options_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="heads is 5, which does not divide 144"):
        MobileViT(heads=5)
    with pytest.raises(ValueError, match="depths has 2 entries; valid: 3"):
        ENCODERS["mobilevit_v2"].make(depths=(1, 2))


@pytest.mark.parametrize("size", [(8, 11), (7, 1), (2, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 3), (2, 2)])
def test_padding_equals_tensorflow(size, kernel, stride):
    x = FeatureMap(random(2, *size, 3))
    layer = layers.Conv(4, kernel=kernel, stride=stride, padding=0)
    same = nn.Conv(4, (kernel, kernel), strides=stride, padding="SAME")

    @jax.jit
    def run(x):
        y = layers.pad_like_tensorflow(x, kernel, stride)
        result, variables = layer.init_with_output(jax.random.key(0), y)
        return result.data, same.apply(variables, x.data)

    result, expected = run(x)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 3)])
def test_padding_is_invisible_to_tf_padding(kernel, stride):
    run = initialised(layers.Conv(5, kernel=kernel, stride=stride, padding=0))
    results = on_padded(lambda x: run(layers.pad_like_tensorflow(x, kernel, stride)), 4)
    assert_same_inside(*results)


def patched(layer, x):
    """Apply a layer of patches of side 2 to the next whole patches."""
    y = layers.resize_like(x, layers.round_up_map(x, 2))
    return layers.resize_like(initialised(layer, False)(y), x)


def cropped(layer, x):
    """Apply a layer of patches of side 2 to the whole patches."""
    y = initialised(layer, False)(layers.crop_to_multiple(x, 2))
    return layers.restore_size(y, x)


@pytest.mark.parametrize(
    ("run", "layer"),
    [(patched, layers.PatchAttention(2)), (cropped, layers.SeparableAttention())],
)
def test_padding_is_invisible_to_attention(run, layer):
    assert_same_inside(*on_padded(functools.partial(run, layer), 4))


def test_pixels_attend_to_those_at_their_position_of_a_patch():
    x = random(1, 6, 4, 4)
    other = x.copy()
    other[0, 1, 2] += 1
    run = jax.jit(initialised(layers.PatchAttention(2), False))
    result, changed = (np.asarray(run(FeatureMap(data)).data) for data in (x, other))
    rows, columns = np.nonzero(np.abs(changed - result)[0].max(-1) > 1e-7)
    assert set(rows) == {1, 3, 5}
    assert set(columns) == {0, 2}


def test_separable_attention_by_hand():
    layer = layers.SeparableAttention(patch=1)
    # The score is channel 0, the key twice it, the value the channel and 1.
    kernel = np.asarray([[1.0, 2.0, 1.0]])[None, None]
    params = {
        "query_key_value": {"kernel": kernel, "bias": np.asarray([0.0, 0.0, 1.0])},
        "project": {"kernel": np.ones((1, 1, 1, 1)), "bias": np.zeros(1)},
    }
    x = np.asarray([0.0, np.log(3.0), -2.0]).reshape(1, 1, 3, 1)

    @jax.jit
    def run(params, x):
        parts = (FeatureMap(x[:, :, :2]), FeatureMap(x))
        return [layer.apply({"params": params}, part, False).data.ravel() for part in parts]

    result, whole = jax.device_get(run(params, x))
    context = 2 * np.log(3) * 0.75
    np.testing.assert_allclose(result, [context, (np.log(3) + 1) * context], rtol=1e-5)
    assert whole[2] == 0  # the value is negative


def test_positions_of_patches_split_and_merge():
    x = random(2, 4, 6, 3)

    @jax.jit
    def run(x):
        parts = split_positions(x, 2)
        return parts, merge_positions(parts, (4, 6), 2)

    parts, merged = jax.device_get(run(x))
    assert parts.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(parts[:, 3, 1], x[:, 1, 3])  # lower right of the second patch
    np.testing.assert_array_equal(merged, x)


def test_rest_beyond_whole_patches_is_zero():
    x = FeatureMap(random(1, 5, 1, 3) + 10)

    @jax.jit
    def run(x):
        inner = layers.crop_to_multiple(x, 2)
        return inner, layers.restore_size(inner, x).data

    inner, restored = jax.device_get(run(x))
    assert inner.size == (4, 2)
    assert (inner.data[:, :, 1] == 0).all()
    np.testing.assert_array_equal(restored[:, :4], x.data[:, :4])
    assert (restored[:, 4] == 0).all()


def test_decoder_is_the_pyramid_alone():
    decoder = ASPPDecoder((8,), width=6, rates=(), pool_first=True)

    @jax.jit
    def run(features):
        first, variables = decoder.init_with_output(jax.random.key(0), features, False)
        last = decoder.clone(pool_first=False).apply(variables, features, False)
        return variables, first.data, last.data

    variables, first, last = run((FeatureMap(random(2, 4, 5, 3)),))
    names = {"point", "pool", "project"}
    assert variables["params"]["aspp"].keys() == names
    assert not np.allclose(first, last)
    assert decoder.resized_once
