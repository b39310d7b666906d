"""U-Net with valid convolutions, as Ronneberger et al. 2015 have it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import Segmenter, build_model
from fcnjax.models.decoders.unet import UNet
from fcnjax.models.encoders.plain import Vanilla, valid_margin, valid_size
from fcnjax.models.layers import FeatureMap, crop_edges, mirror_pad


def config_of(**model):
    config = default_config()
    config.data.class_names = ("background", "cell")
    config.data.channels = "L"
    config.model.update({"padding": "valid", "upsample": "transposed", **model})
    return config


def test_sizes_and_parameters_match_paper():
    """Figure 1: 572 pixels become 568, 280, 136, 64, 28, and at last 388."""
    assert valid_size(388, depth=5) == 572
    assert valid_margin(depth=5) == (572 - 388) // 2
    model = build_model(config_of(norm="none"))
    image = jnp.zeros((1, 388, 388, 1))

    def run():
        variables = model.init(jax.random.key(0), image)
        return variables, model.apply(variables, image)["logits"]

    variables, logits = jax.eval_shape(run)
    assert logits.shape == (1, 388, 388, 2)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 31_030_658
    encode = functools.partial(model.encoder.init_with_output, jax.random.key(0))
    features, _ = jax.eval_shape(lambda: encode(FeatureMap(image), False))
    assert [feature.size for feature in features] == [(n, n) for n in (568, 280, 136, 64, 28)]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_valid_size_is_the_least_that_is_even_at_each_pooling(depth):
    for target in range(1, 80):
        size, stages = valid_size(target, depth), []
        for stage in range(depth):
            if stage:
                assert size % 2 == 0
                size //= 2
            size -= 4
            assert size > 0
            stages.append(size)
        for skip in reversed(stages[:-1]):
            size *= 2
            assert skip >= size
            assert (skip - size) % 2 == 0
            size -= 4
        assert target <= size < target + 2 ** (depth - 1)
    sizes = np.arange(1, 80)
    assert valid_size(sizes, depth).tolist() == [valid_size(int(n), depth) for n in sizes]


@pytest.mark.parametrize("size", [(1, 2), (3, 7), (9, 5)])
def test_mirror_pad_equals_numpy(size):
    image = np.random.default_rng(0).standard_normal((*size, 2)).astype(np.float32)
    canvas = np.full((2, 10, 9, 2), np.nan, np.float32)
    canvas[1, : size[0], : size[1]] = image
    canvas[0] = 1
    extent = np.asarray([(10, 9), size])

    @jax.jit
    def run(canvas, image, extent):
        padded = mirror_pad(FeatureMap(canvas, extent), 6, (23, 21), extent + 12)
        alone = mirror_pad(FeatureMap(image[None]), 6, (23, 21), None)
        return padded, alone, crop_edges(padded, 6)

    padded, alone, back = jax.device_get(run(canvas, image, extent))
    # Beyond the new extent, the reflection continues back and forth.
    expected = np.pad(image, [(6, 17 - size[0]), (6, 15 - size[1]), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(padded.data[1], expected)
    np.testing.assert_array_equal(padded.extent, extent + 12)
    np.testing.assert_array_equal(alone.data[0], expected)
    np.testing.assert_array_equal(back.data[1, : size[0], : size[1]], image)
    np.testing.assert_array_equal(back.extent, extent)


DEPTH = 3
# The largest reach of a pixel: the margin is that of the first pixel of a pooled block.
REACH = valid_margin(DEPTH) + 2 ** (DEPTH - 1)


def small_net(padding: str) -> Segmenter:
    encoder = Vanilla((4, 6, 8)[:DEPTH], padding=padding)
    options = {"padding": padding, "upsample": "transposed"}
    decoder = UNet.build(encoder, 3, ("vanilla", "unet"), **options)
    return Segmenter(encoder, decoder, 3)


@pytest.fixture(scope="module")
def small():
    """Return an image, and a function from padding and image to logits, with shared weights."""
    image = np.random.default_rng(0).standard_normal((1, 83, 70, 3)).astype(np.float32)
    nets = {padding: small_net(padding) for padding in ("valid", "same")}
    variables = jax.jit(nets["same"].init)(jax.random.key(0), image[:, :8, :8])

    def run(padding, image):
        return np.asarray(jax.jit(nets[padding].apply)(variables, image)["logits"])

    return image, run


def test_valid_equals_same_far_from_the_border(small):
    image, run = small
    # The margin is 4 * 5 = 20 pixels, and two convolutions lose 2: poolings begin at pixel 2 of
    # each block of four, and in the padded net at pixel 0.
    logits = run("valid", image)[:, 2:, 2:]
    same = run("same", image[:, 2:, 2:])
    inner = np.s_[:, REACH:-REACH, REACH:-REACH]
    assert logits[inner].size > 1000
    np.testing.assert_allclose(logits[inner], same[inner], rtol=1e-5, atol=1e-6)
    assert np.abs(logits - same).max() > 0.01


def test_valid_sees_mirrored_image_at_the_border(small):
    image, run = small
    far = 28  # beyond the reach, and a multiple of four, so that poolings are aligned
    assert far > REACH
    wide = np.pad(image, [(0, 0), (far, far), (far, far), (0, 0)], mode="reflect")
    inner = np.s_[:, far:-far, far:-far]
    logits, expected = run("valid", image), run("valid", wide)[inner]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoder": "resnet18"},
            "config.model.padding: valid does not work with encoder resnet18; valid: vanilla$",
        ),
        ({"decoder": "fcn_head"}, "config.model.upsample: not an option"),
        (
            {"decoder": "fpn", "upsample": "nearest"},
            "config.model.padding: valid does not work with decoder fpn; valid: unet$",
        ),
        ({"downsample": "conv"}, "config.model.padding: .*downsample=max_pool, which is conv"),
        ({"aux_head": True}, "config.model.aux_head: with config.model.padding=valid"),
        ({"padding": "reflect"}, "config.model.padding: unknown 'reflect'.*same, valid"),
    ],
)
def test_invalid_combinations_raise(options, message):
    with pytest.raises(UserError, match=message):
        build_model(config_of(**options))
