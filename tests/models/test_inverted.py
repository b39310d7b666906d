"""MobileNets and EfficientNets: sizes, options, and the layers that only they use.

test_parity.py compares their outputs.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fcnjax.models import ENCODERS, Platform, compile_for, layers
from fcnjax.models.classifier import Classifier, build_classifier
from fcnjax.models.encoders.efficientnet import efficientnet
from fcnjax.models.encoders.inverted import Block, InvertedNet, round_channels
from fcnjax.models.encoders.mobilenet import MOBILENETS_V3, mobilenet_v2
from fcnjax.models.layers import FeatureMap
from fcnjax.models.layers.convolution.implementations import depthwise, sum_of_shifts

# Parameters of the classifier with 1000 classes, as timm counts them.
COUNTS = {
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856,
    "mobilenet_v3_large": 5_483_032,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}
# Channels of the features of each variant, as the libraries declare them.
VARIANTS = {
    ("mobilenet_v2", "timm"): (16, 24, 32, 96, 320),
    ("mobilenet_v2", "smp"): (16, 24, 32, 96, 1280),
    ("mobilenet_v3_small", "timm"): (16, 16, 24, 48, 576),
    ("mobilenet_v3_small", "torchvision"): (16, 16, 24, 40, 576),
    ("mobilenet_v3_large", "timm"): (16, 24, 40, 112, 960),
    ("mobilenet_v3_large", "torchvision"): (16, 24, 40, 80, 960),
    ("efficientnet_b0", "timm"): (16, 24, 40, 112, 320),
    ("efficientnet_b0", "smp"): (32, 24, 40, 112, 320),
    ("efficientnet_b0", "smp_timm"): (32, 24, 40, 112, 320),
    ("efficientnet_b7", "timm"): (32, 48, 80, 224, 640),
    ("efficientnet_b7", "smp"): (64, 48, 80, 224, 640),
    ("efficientnet_b7", "smp_timm"): (64, 48, 80, 224, 640),
    ("efficientnet_lite3", "timm"): (24, 32, 48, 136, 384),
    ("efficientnet_lite3", "smp_timm"): (32, 32, 48, 136, 384),
}
# The blocks that smp's EfficientNets take, from its `_out_indexes`.
SMP_FEATURE_BLOCKS = {
    "efficientnet_b0": (2, 4, 8, 15),
    "efficientnet_b1": (4, 7, 15, 22),
    "efficientnet_b2": (4, 7, 15, 22),
    "efficientnet_b3": (4, 7, 17, 25),
    "efficientnet_b4": (5, 9, 21, 31),
    "efficientnet_b5": (7, 12, 26, 38),
    "efficientnet_b6": (8, 14, 30, 44),
    "efficientnet_b7": (10, 17, 37, 54),
}
BLOCKS = (
    Block(3, 8, 8),
    Block(3, 16, 8, stride=2, squeeze=4),
    Block(5, 16, 12, stride=2),
    Block(3, 24, 12, stride=2, activation="hard_swish"),
    Block(5, 24, 12),
    Block(5, 24, 16, stride=2, squeeze=8),
    Block(3, 32, 16),
)
SMALL = functools.partial(InvertedNet, 8, BLOCKS)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def shapes_of(encoder, height: int, width: int, channels: int = 3):
    """Return the shapes of features and variables."""
    image = FeatureMap(jnp.zeros((1, height, width, channels)))
    init = functools.partial(encoder.init_with_output, jax.random.key(0))
    return jax.eval_shape(lambda: init(image, False))


def init(encoder, image):
    return jax.jit(lambda key: encoder.init(key, image, False))(jax.random.key(0))


def run(*args):
    return jax.device_get(features_of(*args))


@functools.partial(jax.jit, static_argnums=(0, 3))
def features_of(encoder, variables, image, train=False):
    return encoder.apply(variables, image, train, rngs={"dropout": jax.random.key(1)})


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters_matches_publication(name):
    model = build_classifier(name)
    logits, variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    )
    assert logits.shape == (1, 1000)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == COUNTS[name]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_variants_share_weights_but_not_features(name, variant):
    spec = ENCODERS[name]
    assert "encoder_form" in spec.options
    assert variant in spec.choices["encoder_form"]
    encoder = spec.make(variant=variant)
    assert encoder.channels == VARIANTS[name, variant]
    assert encoder.blocks == spec.make().blocks
    assert encoder.epsilon == (
        1e-3 if variant in ("torchvision", "smp") and "v2" not in name else 1e-5
    )


def test_every_variant_is_tested():
    families = {
        name: spec.choices["encoder_form"] for name, spec in ENCODERS.items() if spec.choices
    }
    tested = {name for name, _ in VARIANTS}
    assert {(name, variant) for name in tested for variant in families[name]} == set(VARIANTS)


@pytest.mark.parametrize("name", SMP_FEATURE_BLOCKS)
def test_smp_efficientnets_return_the_blocks_of_smp(name):
    encoder = ENCODERS[name].make(variant="smp")
    assert encoder.feature_blocks == (-1, *SMP_FEATURE_BLOCKS[name])


def test_features_have_declared_strides_and_channels():
    for name in ("mobilenet_v2", "mobilenet_v3_small", "efficientnet_b2"):
        encoder = ENCODERS[name].make()
        features, _ = shapes_of(encoder, 65, 99)
        assert [f.data.shape for f in features] == [
            (1, -(-65 // s), -(-99 // s), c)
            for s, c in zip(encoder.strides, encoder.channels, strict=True)
        ]


@pytest.mark.parametrize("variant", ["timm", "smp"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_keeps_the_resolution_and_the_weights(output_stride, variant):
    encoder = efficientnet(0.25, 1.0, 224, variant=variant, output_stride=output_stride)
    # Padded as for a side of 224, an odd size rounds down.
    height, width = (65, 99) if variant == "timm" else (64, 96)
    features, variables = shapes_of(encoder, height, width)
    assert encoder.strides == tuple(min(s, output_stride) for s in (2, 4, 8, 16, 32))
    assert [f.size for f in features] == [
        (-(-height // s), -(-width // s)) for s in encoder.strides
    ]
    plain = shapes_of(encoder.clone(output_stride=32), height, width)[1]
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, plain)


def test_dilation_rules_differ_only_from_first_dilated_block():
    image = FeatureMap(random(1, 33, 40, 3))
    variables = init(SMALL(), image)
    results = [
        run(SMALL(output_stride=16, dilation_rule=rule), variables, image)
        for rule in ("torchvision", "smp")
    ]
    same = [np.array_equal(a.data, b.data) for a, b in zip(*results, strict=True)]
    assert same == [True, True, True, True, False]


@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels_and_tiny_images(channels):
    features, variables = shapes_of(SMALL(), 1, 3, channels)
    assert all(min(f.data.shape) > 0 for f in features)
    assert variables["params"]["stem"]["conv"]["kernel"].shape == (3, 3, channels, 8)


@pytest.mark.parametrize("norm", ["group", "none"])
def test_other_norms_have_no_statistics_and_pass_a_signal(norm):
    encoder = SMALL(norm=norm)
    image = FeatureMap(random(2, 33, 40, 3))
    variables = init(encoder, image)
    assert "batch_stats" not in variables
    assert run(encoder, variables, image)[-1].data.std() > 1e-3


def test_drop_path_rises_with_blocks_and_is_off_in_inference():
    image = FeatureMap(random(16, 33, 40, 3))
    encoder = SMALL(norm="none", drop_path=0.9)
    variables = init(encoder, image)
    plain = run(encoder, variables, image)
    trained = run(encoder, variables, image, True)
    same = [np.array_equal(a.data, b.data) for a, b in zip(plain, trained, strict=True)]
    assert same == [True, True, True, False, False]  # block 0 never drops; 4 and 6 have shortcuts
    undropped = run(encoder.clone(drop_path=0.0), variables, image, True)
    np.testing.assert_array_equal(undropped[-1].data, plain[-1].data)


def test_unknown_variant_raises():
    with pytest.raises(ValueError, match="'keras' is none of timm, smp, smp_timm"):
        efficientnet(1.0, 1.0, 224, variant="keras")
    with pytest.raises(ValueError, match="'smp' is none of timm, smp_timm"):
        efficientnet(1.0, 1.0, 224, variant="smp", lite=True)
    with pytest.raises(ValueError, match="'torchvision' is none of timm, smp"):
        mobilenet_v2(variant="torchvision")
    with pytest.raises(ValueError, match="'smp' is none of torchvision, timm"):
        MOBILENETS_V3["mobilenet_v3_small"](variant="smp")


def test_channels_are_rounded_but_not_below_nine_tenths():
    assert [round_channels(width) for width in (3, 18, 20, 44, 35.2)] == [8, 24, 24, 48, 32]


def test_classifier_ignores_padding():
    model = Classifier(InvertedNet(4, BLOCKS[:2], last=24), 5, hidden=(8,), dropout=0.5)
    images = random(2, 40, 56, 3)
    sizes = ((37, 53), (5, 7))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    apply = jax.jit(model.apply)
    bare = [image[None, :h, :w].copy() for image, (h, w) in zip(images, sizes, strict=True)]
    alone = [apply(variables, image) for image in bare]
    for image, (height, width) in zip(images, sizes, strict=True):
        image[height:] = np.nan
        image[:, width:] = np.nan
    together = apply(variables, images, extent=np.asarray(sizes))
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    ("stride", "dilation", "padding"),
    [(1, 1, ((1, 1), (1, 1))), (2, 1, ((0, 1), (2, 3))), (1, 3, ((6, 6), (6, 7)))],
)
def test_depthwise_equals_the_plain_convolution(kernel, stride, dilation, padding):
    data, taps = random(2, 9, 12, 6), random(kernel, kernel, 1, 6, seed=1)

    def plain(data, taps):
        return lax.conv_general_dilated(
            data,
            taps,
            (stride, stride),
            padding,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=6,
        )

    def ours(data, taps):
        return depthwise(data, taps, stride, dilation, padding)

    @jax.jit
    def run(*args):
        squares = [lambda *args, fn=fn: (fn(*args) ** 2).sum() for fn in (ours, plain)]
        return (ours(*args), plain(*args)), [jax.grad(fn, (0, 1))(*args) for fn in squares]

    results, gradients = run(data, taps)
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_depthwise_uses_grouped_convolution_on_other_platforms():
    data, taps = random(1, 6, 7, 4), random(3, 3, 1, 4, seed=1)
    here = jax.jit(lambda *args: depthwise(*args))(data, taps)
    with compile_for(Platform("gpu")):
        there = jax.jit(lambda *args: depthwise(*args))
        assert "conv_general_dilated" in str(jax.make_jaxpr(depthwise)(data, taps))
        np.testing.assert_allclose(there(data, taps), here, rtol=1e-4, atol=1e-5)


def test_depthwise_in_bfloat16_rounds_once():
    data, taps = (x.astype(jnp.bfloat16) for x in (random(1, 6, 7, 4), random(5, 5, 1, 4, seed=1)))
    exact = sum_of_shifts(
        data.astype(jnp.float32), taps.astype(jnp.float32), 1, 1, ((2, 2), (2, 2))
    )
    rounded = depthwise(data, taps, padding=((2, 2), (2, 2)))
    assert rounded.dtype == jnp.bfloat16
    np.testing.assert_array_equal(rounded, exact.astype(jnp.bfloat16))


def test_asymmetric_padding_equals_tensorflow():
    x = FeatureMap(random(2, 8, 10, 3))
    layer = layers.Conv(4, kernel=3, stride=2, padding=(0, 1))
    result, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
    expected = jax.jit(nn.Conv(4, (3, 3), strides=2, padding="SAME").apply)(variables, x.data)
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-5)


def test_squeeze_excite_by_hand():
    layer = layers.SqueezeExcite(1, "relu", "hard_sigmoid")
    one = {"reduce": {"kernel": np.ones((1, 1, 2, 1)), "bias": np.full(1, -1.0)}}
    one["expand"] = {"kernel": np.asarray([[[[1.0, -9.0]]]]), "bias": np.zeros(2)}
    data = np.asarray([[[[1.0, 0.0]], [[2.0, 2.0]], [[np.nan, 7.0]]]], np.float32)
    x = FeatureMap(data, np.asarray([[2, 1]]))
    # Means 1.5 and 1, less 1: 1.5. Gates (1.5 + 3) / 6 and 0.
    result = np.asarray(jax.jit(layer.apply)({"params": one}, x).data)
    np.testing.assert_allclose(result[0, :2, 0], [[0.75, 0], [1.5, 0]], rtol=1e-6)
