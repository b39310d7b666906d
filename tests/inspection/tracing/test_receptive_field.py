"""Receptive fields against hands, against the literature, and against gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.inspection.receptive_fields import SHARE, gradient_of, measure
from fcnjax.inspection.tracing.program import encode
from fcnjax.inspection.tracing.receptive_field import Field, receptive_fields
from fcnjax.models import DECODERS, ENCODERS, build_model
from fcnjax.models.layers import (
    Conv,
    SqueezeExcite,
    add,
    map_data,
    max_pool,
    mean_pool,
    resize_corners_like,
    resize_like,
)


class Chain(nn.Module):
    """Convolutions, each a kernel, a stride and a dilation."""

    convs: tuple[tuple[int, int, int], ...]

    @nn.compact
    def __call__(self, x, train):
        for kernel, stride, dilation in self.convs:
            x = Conv(2, kernel, stride, dilation)(x)
        return (x,)


def sizes(encoder, shape=(1, 64, 64, 3), **options):
    return [field.size for field in receptive_fields(encoder, encode, shape, **options)]


@pytest.mark.parametrize(
    ("convs", "size"),
    [
        (((3, 1, 1),), 3),
        (((3, 1, 1),) * 4, 9),  # 1 + 4 x 2
        (((3, 2, 1), (3, 1, 1)), 7),  # 3 + 2 x 2
        (((3, 2, 1), (3, 2, 1), (3, 1, 1)), 15),  # 3 + 2 x 2 + 4 x 2
        (((3, 1, 2), (3, 1, 4)), 13),  # 1 + 4 + 8
        (((5, 1, 3), (1, 1, 1), (7, 2, 1)), 19),  # 1 + 12 + 6
        (((2, 2, 1), (2, 2, 1)), 4),
    ],
)
def test_chains_of_convolutions_by_hand(convs, size):
    assert sizes(Chain(convs)) == [size]
    assert sizes(Chain(convs), axis=2) == [size]


# Araujo et al. 2019 (vgg16: 212, mobilenet_v2: 491); 483 for a ResNet-50 whose strides are in the
# last block of each stage, and 427 where they are in the first, as in torchvision.
KNOWN = {
    "vgg16": [5, 14, 40, 92, 196, 212],
    "resnet50": [7, 35, 91, 267, 427],
    "mobilenet_v2": [7, 19, 59, 267, 491],
}


@pytest.mark.parametrize("encoder", KNOWN)
def test_encoders_match_known_receptive_fields(encoder):
    assert sizes(ENCODERS[encoder].make()) == KNOWN[encoder]


def test_resnet_with_late_strides_matches_published_field():
    stem, pool = ((7, 2, 1),), ((3, 2, 1),)
    blocks = [
        ((1, 1, 1), (3, 2 if last and stage < 3 else 1, 1), (1, 1, 1))
        for stage, depth in enumerate((3, 4, 6, 3))
        for last in [False] * (depth - 1) + [True]
    ]
    assert sizes(Chain((*stem, *pool, *sum(blocks, ())))) == [483]


def test_fields_larger_than_the_first_trace():
    assert sizes(Chain(((3, 1, 2000),))) == [4001]


class Gated(nn.Module):
    """A convolution whose channels are scaled by the means of the image."""

    @nn.compact
    def __call__(self, x, train):
        x = Conv(4, 3, name="conv")(x)
        return (SqueezeExcite(2, name="gate")(x),)


def test_whole_image_means_are_reported_separately():
    (field,) = receptive_fields(Gated(), encode, (1, 32, 32, 3))
    assert field == Field(-1, 2, (("gate",),))


def extent_of_gradient(module, run, shape, seeds):
    """Rows and columns of the pixels that a middle value's gradient reaches, over some images."""

    def middle(image, variables):
        value = nn.apply(run, module)(variables, image)
        return value[0, value.shape[1] // 2, value.shape[2] // 2].sum()

    @jax.jit
    def reach(init_key, key):
        variables = module.init(init_key, jnp.zeros(shape), method=run)

        def reach_of_one(key):
            return (jax.grad(middle)(jax.random.normal(key, shape), variables) != 0).any((0, 3))

        return jax.lax.map(reach_of_one, jax.random.split(key, seeds)).any(0)

    reached = np.asarray(reach(jax.random.key(0), jax.random.key(1)))
    places = [np.flatnonzero(reached.any(1 - axis)) for axis in (0, 1)]
    return [(p[0] - n // 2, p[-1] + 1 - n // 2) for p, n in zip(places, shape[1:3], strict=True)]


class Mixed(nn.Module):
    """Pools, shortcuts and resizes by every rule, back to the size of the image."""

    @nn.compact
    def __call__(self, x, train):
        smooth = functools.partial(map_data, nn.silu)
        y = smooth(Conv(4, 3, stride=2, padding=0)(x))
        y = mean_pool(y, 3, 2, partial=True)
        z = max_pool(y, 3, 2, padding=1)
        y = add(y, resize_like(smooth(Conv(4, 3)(z)), y))
        return (resize_corners_like(y, x),)


def last(encoder, image):
    return encode(encoder, image)[-1]


def test_field_matches_nonzero_gradient():
    shape = (1, 64, 71, 2)
    fields = [receptive_fields(Mixed(), last, shape, axis)[0] for axis in (1, 2)]
    reached = extent_of_gradient(Mixed(), last, shape, 20)
    assert [(field.before, field.after) for field in fields] == reached


def families():
    """The first encoder of each family, named up to its first number, but for the known ones."""
    firsts = {}
    for name in ENCODERS:
        firsts.setdefault(re.split(r"\d|_", name)[0], name)
    return [name for name in firsts.values() if name not in KNOWN]


@pytest.mark.parametrize("encoder", families())
def test_every_encoder_has_rules(encoder):
    fields = receptive_fields(ENCODERS[encoder].make(), encode, (1, 64, 64, 3))
    sizes = [field.size for field in fields]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 1


def logits(model, image):
    return model(image)["logits"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_has_rules(decoder):
    config = default_config()
    config.data.class_names = ("ground", "figure")
    config.model.decoder = decoder
    for encoder in ("resnet18", "vgg11", "eomt_vit", "vit"):
        config.model.encoder = encoder
        try:
            model = build_model(config)
        except UserError:
            continue
        (field,) = receptive_fields(model, logits, (1, 64, 64, 3))
        # Beside attention; the scores of Mask2Former have a fixed size, which no pixel moves with.
        assert field.size > {"eomt": 30, "mask2former": -1}.get(decoder, 60)
        assert bool(field.global_modules) == (decoder in WHOLE)
        return
    pytest.fail(f"{decoder} goes over neither")


def test_mirrored_edges_do_not_extend_the_field():
    config = default_config()
    config.data.class_names = ("ground", "figure")
    config.model.padding, config.model.norm = "valid", "none"
    config.model.widths, config.model.activation = (2, 3, 4), "silu"
    model, shape = build_model(config), (1, 64, 71, 3)
    fields = [receptive_fields(model, logits, shape, axis)[0] for axis in (1, 2)]
    reached = extent_of_gradient(model, logits, shape, 20)
    assert [(field.before, field.after) for field in fields] == reached
    # In an image that is smaller than the field it is what it is in a larger one.
    (small,) = receptive_fields(model, logits, (1, 32, 32, 3))
    assert small.size >= 32


# Those with means over the whole image, or over parts of it that grow with it, with group norms, or
# with attention.
WHOLE = {
    "deeplabv3",
    "deeplabv3plus",
    "dpt",
    "eomt",
    "fpn",
    "aspp",
    "lraspp",
    "mask2former",
    "pspnet",
    "upernet",
}


def test_effective_field_is_gaussian_within_the_theoretical_one():
    chain = Chain(((3, 1, 1),) * 8)  # 17 pixels
    shape = (1, 31, 35, 3)
    init = jax.jit(lambda key: chain.init(key, jnp.zeros(shape), method=last))
    variables = init(jax.random.key(0))
    found = measure(gradient_of(chain, last, shape), variables, range(8))
    assert found.weights.sum() == pytest.approx(1)
    assert found.middle == (15, 17)
    rows = np.flatnonzero(found.weights.sum(1))
    assert (rows[0], rows[-1]) == (15 - 8, 15 + 8)
    assert found.box < 17
    half = found.box // 2
    assert found.weights[15 - half : 16 + half, 17 - half : 18 + half].sum() >= SHARE
    inner = found.weights[16 - half : 15 + half, 18 - half : 17 + half].sum()
    assert inner < SHARE
    # A random walk of eight steps of -1, 0 or 1 deviates by sqrt(8 x 2 / 3), near 2.3.
    assert 1.5 < found.sigma < 3
