"""Multiply-adds against published figures, and against hands that count a tiny net."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from fcnjax.inspection.summaries.sizes import multiply_adds
from fcnjax.inspection.tracing.program import encode, trace
from fcnjax.models import ENCODERS, Platform, compile_for
from fcnjax.models.layers import (
    Conv,
    ConvTranspose2x,
    ConvTranspose4x4,
    FeatureMap,
    adaptive_mean,
    resize_corners_like,
)

# torchvision's published figures (in thousands of millions, at 224x224), and what of them is the
# classifier's: channels x classes, the layers before the classes, a last convolution on 7x7 pixels.
PUBLISHED = {
    "resnet18": (1.81, 512 * 1000),
    "resnet50": (4.09, 2048 * 1000),
    "vgg16": (15.47, 25088 * 4096 + 4096 * 4096 + 4096 * 1000),
    "mobilenet_v2": (0.30, 320 * 1280 * 49 + 1280 * 1000),
    "mobilenet_v3_large": (0.22, 960 * 1280 + 1280 * 1000),
    "densenet121": (2.83, 1024 * 1000),
    "convnext_tiny": (4.46, 768 * 1000),
}


@pytest.mark.parametrize("encoder", PUBLISHED)
def test_encoders_match_published_multiply_adds(encoder):
    published, classifier = PUBLISHED[encoder]
    counted = multiply_adds(trace(ENCODERS[encoder].make(), encode, (1, 224, 224, 3)))
    assert (sum(counted.values()) + classifier) / 1e9 == pytest.approx(published, abs=0.005)


class Tiny(nn.Module):
    """Two convolutions, one of them dilated, strided and grouped, and a depthwise one."""

    @nn.compact
    def __call__(self, x, train):
        x = Conv(6, 3, name="first")(x)
        x = Conv(4, 3, stride=2, dilation=2, groups=2, name="second")(x)
        return (Conv(4, 5, groups=4, name="depthwise")(x),)


BY_HAND = {
    ("first",): 8 * 10 * 6 * 9 * 3,
    ("second",): 4 * 5 * 4 * 9 * 3,
    ("depthwise",): 4 * 5 * 4 * 25,
}


def test_tiny_net_by_hand():
    assert multiply_adds(trace(Tiny(), encode, (1, 8, 10, 3))) == BY_HAND
    # On other devices a depthwise convolution is written as one.
    with compile_for(Platform("gpu")):
        assert multiply_adds(trace(Tiny(), encode, (1, 8, 10, 3))) == BY_HAND


class Ups(nn.Module):
    """Transposed convolutions, then what is no layer: a mean over cells and a resize."""

    @nn.compact
    def __call__(self, x, train):
        y = ConvTranspose2x(5, name="two")(x)
        y = ConvTranspose4x4(5, name="four")(y)
        return (resize_corners_like(adaptive_mean(y, 3), x),)


def test_transposed_convolutions_and_resizes():
    counted = multiply_adds(trace(Ups(), encode, (1, 4, 6, 3)))
    assert counted == {("two",): 4 * 6 * 4 * 3 * 5, ("four",): 8 * 12 * 16 * 5 * 5}


class Attention(nn.Module):
    """Every pixel asks every other, twice."""

    @nn.compact
    def __call__(self, x, train):
        for name in ("one", "two"):
            x = Asking(name=name)(x)
        return (x,)


class Asking(nn.Module):
    @nn.compact
    def __call__(self, x):
        tokens = x.data.reshape(1, -1, x.channels)
        weights = jax.nn.softmax(tokens @ tokens.swapaxes(1, 2))
        return FeatureMap(jnp.reshape(weights @ tokens, x.data.shape))


def test_attention_products_are_counted_in_their_module():
    counted = multiply_adds(trace(Attention(), encode, (1, 4, 6, 3)))
    assert counted == dict.fromkeys([("one",), ("two",)], 2 * 24 * 24 * 3)
