"""Receptive fields against hands, against the literature, and against gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fcnjax.models import ENCODERS
from fcnjax.models.encoders.densenet import DenseNet
from fcnjax.models.encoders.inverted import Block, InvertedNet
from fcnjax.models.encoders.resnet import ResNet
from fcnjax.models.encoders.vanilla import Vanilla
from fcnjax.models.inspect.program import encode
from fcnjax.models.inspect.receptive_field import Field, receptive_fields
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
def test_chains_are_as_hands_count_them(convs, size):
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
def test_encoders_have_the_known_fields(encoder):
    assert sizes(ENCODERS[encoder].make()) == KNOWN[encoder]


def test_a_resnet_with_late_strides_has_its_published_field():
    stem, pool = ((7, 2, 1),), ((3, 2, 1),)
    blocks = [
        ((1, 1, 1), (3, 2 if last and stage < 3 else 1, 1), (1, 1, 1))
        for stage, depth in enumerate((3, 4, 6, 3))
        for last in [False] * (depth - 1) + [True]
    ]
    assert sizes(Chain((*stem, *pool, *sum(blocks, ())))) == [483]


def test_a_field_larger_than_the_first_attempt_is_found():
    assert sizes(Chain(((3, 1, 2000),))) == [4001]


class Gated(nn.Module):
    """A convolution whose channels are scaled by the means of the image."""

    @nn.compact
    def __call__(self, x, train):
        x = Conv(4, 3, name="conv")(x)
        return (SqueezeExcite(2, name="gate")(x),)


def test_means_of_the_whole_image_are_told_and_left_out():
    (field,) = receptive_fields(Gated(), encode, (1, 32, 32, 3))
    assert field == Field(-1, 2, (("gate",),))


SMALL = {
    "vanilla": functools.partial(Vanilla, (2, 3, 4)),
    "resnet": functools.partial(ResNet, (1, 1, 1, 1), "basic", deep=True, output_stride=8),
    "densenet": functools.partial(DenseNet, (1, 1), 4),
    "inverted": functools.partial(
        InvertedNet, 4, (Block(3, 4, 4), Block(5, 8, 4, 2), Block(3, 8, 6, 2)), static_side=60
    ),
}


def extent_of_gradient(module, run, shape, seeds):
    """Rows and columns of the pixels that a middle value's gradient reaches, over some images."""
    variables = module.init(jax.random.key(0), jnp.zeros(shape), method=run)

    @jax.jit
    def gradient(key):
        image = jax.random.normal(key, shape)

        def middle(image):
            value = nn.apply(run, module)(variables, image)
            return value[0, value.shape[1] // 2, value.shape[2] // 2].sum()

        return (jax.grad(middle)(image) != 0).any((0, 3))

    reached = np.any([gradient(key) for key in jax.random.split(jax.random.key(1), seeds)], 0)
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


@pytest.mark.parametrize("side", [61, 64])
def test_the_field_is_where_the_gradient_is_not_zero(side):
    run = lambda module, image: encode(module, image)[-1]  # noqa: E731
    shape = (1, side, side + 7, 2)
    fields = [receptive_fields(Mixed(), run, shape, axis)[0] for axis in (1, 2)]
    reached = extent_of_gradient(Mixed(), run, shape, 20)
    assert [(field.before, field.after) for field in fields] == reached
