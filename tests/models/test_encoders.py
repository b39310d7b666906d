"""Sizes, strides and options of encoders; test_parity.py compares their outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import ENCODERS, build_model
from fcnjax.models.encoders.convnext import ConvNeXt
from fcnjax.models.encoders.resnet import ResNet
from fcnjax.models.layers import FeatureMap


def linear(inputs: int, outputs: int = 1000) -> int:
    return inputs * outputs + outputs


VGG_HEAD = linear(25088, 4096) + linear(4096, 4096) + linear(4096)
# The published classifier's parameters, and how many of them follow the encoder.
COUNTS = {
    "vgg11": ({"norm": "none"}, 132_863_336, VGG_HEAD),
    "vgg13": ({"norm": "none"}, 133_047_848, VGG_HEAD),
    "vgg16": ({"norm": "none"}, 138_357_544, VGG_HEAD),
    "vgg19": ({"norm": "none"}, 143_667_240, VGG_HEAD),
    "resnet18": ({}, 11_689_512, linear(512)),
    "resnet34": ({}, 21_797_672, linear(512)),
    "resnet50": ({}, 25_557_032, linear(2048)),
    "resnet101": ({}, 44_549_160, linear(2048)),
    "resnet152": ({}, 60_192_808, linear(2048)),
    "resnext50_32x4d": ({}, 25_028_904, linear(2048)),
    "resnext101_32x8d": ({}, 88_791_336, linear(2048)),
    "wide_resnet50_2": ({}, 68_883_240, linear(2048)),
    "resnet26d": ({}, 16_014_408, linear(2048)),
    "resnet50d": ({}, 25_576_264, linear(2048)),
    "densenet121": ({}, 7_978_856, linear(1024)),
    "densenet169": ({}, 14_149_480, linear(1664)),
    # The classifier normalises the means: a scale and a bias for each channel.
    "convnext_tiny": ({}, 28_589_128, linear(768) + 2 * 768),
    "convnext_small": ({}, 50_223_688, linear(768) + 2 * 768),
    "convnext_base": ({}, 88_591_464, linear(1024) + 2 * 1024),
    "convnext_large": ({}, 197_767_336, linear(1536) + 2 * 1536),
}


def shapes_of(encoder, height: int, width: int, channels: int = 3):
    """Return the shapes of features and variables."""
    image = FeatureMap(jnp.zeros((1, height, width, channels)))
    init = functools.partial(encoder.init_with_output, jax.random.key(0))
    return jax.eval_shape(lambda: init(image, False))


def init(encoder, image):
    return jax.jit(encoder.init, static_argnums=2)(jax.random.key(0), image, False)


def run(*args):
    """Return the arrays of the features."""
    return jax.device_get(features_of(*args))


@functools.partial(jax.jit, static_argnums=(0, 3))
def features_of(encoder, variables, image, train=False):
    rngs = {"dropout": jax.random.key(1)}
    return [feature.data for feature in encoder.apply(variables, image, train, rngs=rngs)]


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters_matches_publication(name):
    options, published, head = COUNTS[name]
    encoder = ENCODERS[name].make(**options)
    features, variables = shapes_of(encoder, 64, 96)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) + head == published
    assert [f.data.shape for f in features] == [
        (1, 64 // s, 96 // s, c) for s, c in zip(encoder.strides, encoder.channels, strict=True)
    ]


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(16, (2, 4, 8, 16, 16)), (8, (2, 4, 8, 8, 8))]
)
@pytest.mark.parametrize("name", ["resnet34", "resnext50_32x4d", "resnet26d"])
def test_dilation_keeps_the_resolution_and_the_weights(name, output_stride, strides):
    plain, dilated = ENCODERS[name].make(), ENCODERS[name].make(output_stride=output_stride)
    assert dilated.strides == strides
    features, variables = shapes_of(dilated, 65, 99)
    assert [f.size for f in features] == [(-(-65 // s), -(-99 // s)) for s in strides]
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, shapes_of(plain, 65, 99)[1]
    )


def test_dilation_rules_differ_only_from_first_dilated_block():
    image = FeatureMap(np.random.default_rng(0).standard_normal((1, 33, 40, 3)))
    results = {}
    for rule in ("torchvision", "smp"):
        encoder = ResNet((1, 1, 1, 1), "basic", output_stride=16, dilation_rule=rule)
        results[rule] = run(encoder, init(encoder, image), image)
    same = [np.array_equal(a, b) for a, b in zip(*results.values(), strict=True)]
    assert same == [True, True, True, True, False]


@pytest.mark.parametrize("name", ["vgg11", "resnet26d", "densenet121", "convnext_tiny"])
@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels_and_tiny_images(name, channels):
    features, variables = shapes_of(ENCODERS[name].make(), 1, 3, channels)
    assert all(min(f.data.shape) > 0 for f in features)
    kernels = [leaf.shape for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim == 4]
    assert any(shape[2] == channels for shape in kernels)


def test_drop_path_rises_to_last_block_and_is_off_in_inference():
    encoder = ConvNeXt((1, 2), (4, 6), drop_path=0.5)
    image = FeatureMap(np.random.default_rng(0).standard_normal((64, 9, 8, 3)))
    variables = init(encoder, image)
    # A layer scale that makes the branches visible.
    variables = jax.tree.map_with_path(
        lambda path, leaf: np.ones_like(leaf) if path[-1].key == "gamma" else leaf, variables
    )
    plain = run(encoder, variables, image)
    trained = run(encoder, variables, image, True)
    np.testing.assert_array_equal(trained[0], plain[0])  # the first block's rate is 0
    assert not np.array_equal(trained[1], plain[1])
    undropped = run(encoder.clone(drop_path=0.0), variables, image, True)
    np.testing.assert_array_equal(undropped[1], plain[1])


def test_drop_path_of_resnet_keeps_shortcut():
    encoder = ResNet((1, 1, 1, 1), "basic", norm="none", drop_path=0.99)
    image = FeatureMap(np.random.default_rng(0).standard_normal((2, 32, 32, 3)))
    variables = jax.device_get(init(encoder, image))
    plain, trained = (run(encoder, variables, image, train) for train in (False, True))
    np.testing.assert_allclose(trained[1], plain[1], rtol=1e-4, atol=1e-4)  # the first: rate 0
    project = variables["params"]["layer4_0"]["downsample"]["conv"]
    shortcut = trained[3][:, ::2, ::2] @ project["kernel"][0, 0] + project["bias"]
    np.testing.assert_allclose(trained[4], np.maximum(shortcut, 0), rtol=1e-4, atol=1e-4)


def test_options_are_passed_or_rejected():
    config = default_config()
    config.data.class_names = ("a", "b")
    config.model.update({"encoder": "convnext_tiny", "drop_path": 0.1, "norm": "group"})
    assert build_model(config).encoder.drop_path == 0.1
    config.model.drop_path = 1.0
    with pytest.raises(UserError, match=r"config\.model\.drop_path: 1\.0 .*0 to below 1"):
        build_model(config)
    config.model.update({"encoder": "resnet50d", "drop_path": None, "output_stride": 16})
    assert build_model(config).encoder.strides == (2, 4, 8, 16, 16)
    config.model.update({"encoder": "vgg11", "drop_path": 0.1, "output_stride": None})
    with pytest.raises(UserError, match=r"config\.model\.drop_path: not an option of encoder"):
        build_model(config)
