"""Normalisation and activations."""

import functools
import math
from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap, inside, map_data
from fcnjax.models.layers.frozen_norms import is_at_rest
from fcnjax.models.layers.platform import current_platform

ACTIVATIONS: MappingProxyType[str, Callable[[jax.Array], jax.Array]] = MappingProxyType(
    {
        "relu": nn.relu,
        "relu6": nn.relu6,
        "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=0.01),
        "gelu": functools.partial(nn.gelu, approximate=False),
        "silu": nn.silu,
        "hard_swish": nn.hard_swish,
    }
)
EPSILON = 1e-5
MAX_GROUPS = 32


def activated(name: str | None, x: FeatureMap) -> FeatureMap:
    """Applies an activation by its name in `ACTIVATIONS`; None is none."""
    return x if name is None else map_data(ACTIVATIONS[name], x)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167), and the activation after it.

    Parameters, running statistics and all sums are float32. Over a sharded batch the statistics
    are those of the whole batch. The batch is normalised by its biased variance, and the running
    variance is of the unbiased one (over n - 1), as in the paper and in torch.

    Attributes:
        dtype: Of the result.
        momentum: What the running statistics keep at each step (torch's is one minus this).
        epsilon: Added to the variance.
        activation: A name in `ACTIVATIONS`, or None.
    """

    dtype: jnp.dtype = jnp.float32
    momentum: float = 0.9
    epsilon: float = EPSILON
    activation: str | None = None

    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Normalises by the batch (`train`) or by the running statistics.

        Within `batch_norm_inference`, by the running statistics in training too.

        Raises:
            ValueError: An extent in training, where padding would count in the statistics.
        """
        train = train and not is_at_rest(self.path)
        if train and x.extent is not None:
            raise ValueError("batch norm cannot be trained on padded examples: extent must be None")
        scale, bias, running_mean, running_var = self.state(x.channels)
        if not train:
            mean, factor = running_mean.value, scale * lax.rsqrt(running_var.value + self.epsilon)
            # data * factor would be as far from 0 as the mean is, and be rounded there.
            normed = map_data(lambda data: (data.astype(jnp.float32) - mean) * factor + bias, x)
            return map_data(
                lambda data: data.astype(self.dtype), activated(self.activation, normed)
            )
        data, mean, var = batch_normed(
            x.data, scale, bias, self.epsilon, self.activation, self.dtype
        )
        if not self.is_initializing():
            keep, count = self.momentum, x.data.size // x.channels
            var = var * (count / max(count - 1, 1))
            running_mean.value = keep * running_mean.value + (1 - keep) * mean
            running_var.value = keep * running_var.value + (1 - keep) * var
        return x.replace(data=data)

    @nn.compact
    def state(self, channels: int) -> tuple[jax.Array, jax.Array, nn.Variable, nn.Variable]:
        """Scale and bias `[channels]`, and the variables of the running mean and variance."""
        shape = (channels,)
        return (
            self.param("scale", nn.initializers.ones, shape),
            self.param("bias", nn.initializers.zeros, shape),
            self.variable("batch_stats", "mean", jnp.zeros, shape),
            self.variable("batch_stats", "var", jnp.ones, shape),
        )

    def affine(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Factor and shift `[channels]` that fold the running statistics into a convolution."""
        scale, bias, mean, var = self.state(channels)
        factor = scale * lax.rsqrt(var.value + self.epsilon)
        return factor, bias - mean.value * factor


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def batch_normed(
    data: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: str | None,
    dtype: jnp.dtype,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel by its own mean and variance, and activates.

    The gradient keeps `data` alone (bfloat16 where the model computes so) and computes the rest
    again: derived from the formula, it would keep what is normalised too, in float32. None flows
    through the returned statistics.

    Mean and variance take one pass over `data - shift`, where the shift is a pixel of the data, so
    that a mean far from 0 cancels before it is squared: without it the variance is lost to rounding
    where the mean is 1,000 standard deviations or more.

    Args:
        data: `[B, H, W, C]`.
        scale: float32 `[C]`.
        bias: float32 `[C]`.
        epsilon: Added to the variance.
        activation: A name in `ACTIVATIONS`, or None.
        dtype: Of the result.

    Returns:
        The result `[B, H, W, C]`, and the mean and the (biased) variance, float32 `[C]`.
    """
    wide, shift = data.astype(jnp.float32), _pixel(data).astype(jnp.float32)
    count, shifted = data.size // data.shape[-1], wide - shift
    mean, square = (total / count for total in _sums(shifted, lax.square(shifted)))
    var = jnp.maximum(square - lax.square(mean), 0)  # rounding may take it below zero
    mean = shift + mean
    normed = (wide - mean) * (scale * lax.rsqrt(var + epsilon)) + bias
    if activation is not None:
        normed = ACTIVATIONS[activation](normed)
    return normed.astype(dtype), mean, var


def _batch_normed_forward(data, scale, bias, epsilon, activation, dtype):
    normed, mean, var = batch_normed(data, scale, bias, epsilon, activation, dtype)
    return (normed, mean, var), (data, scale, bias, mean, var)


def _batch_normed_backward(epsilon, activation, dtype, saved, cotangents):
    del dtype  # the cotangent has it
    data, scale, bias, mean, var = saved
    slope = cotangents[0].astype(jnp.float32)
    inverse = lax.rsqrt(var + epsilon)
    normed = (data.astype(jnp.float32) - mean) * inverse
    if activation is not None:
        _, pull = jax.vjp(ACTIVATIONS[activation], normed * scale + bias)
        (slope,) = pull(slope)
    bias_slope, scale_slope = _sums(slope, slope * normed)
    count = data.size // data.shape[-1]
    data_slope = (scale * inverse) * (slope - (bias_slope + normed * scale_slope) / count)
    return data_slope.astype(data.dtype), scale_slope, bias_slope


batch_normed.defvjp(_batch_normed_forward, _batch_normed_backward)


def _pixel(data: jax.Array) -> jax.Array:
    """A pixel `[C]` of the first example of `[B, H, W, C]`.

    From the middle, where the zero padding of convolutions is far; but of the first device's rows,
    where rows are divided over devices, so that these exchange the pixel and no row.
    """
    _, height, width, _ = data.shape
    return data[0, height // (2 * current_platform().spatial), width // 2]


def _sums(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sums `[C]` of two `[B, H, W, C]`."""
    if not current_platform().is_gpu:
        return one.sum((0, 1, 2)), other.sum((0, 1, 2))
    # One reduction of both is half as many kernels.
    zero = jnp.zeros((), one.dtype)
    return lax.reduce(
        (one, other), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), (0, 1, 2)
    )


class GroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018, arXiv:1803.08494) over the true pixels.

    There are 32 groups, or the greatest divisor of 32 that divides the channels. An activation
    follows, as in `BatchNorm`.
    """

    dtype: jnp.dtype = jnp.float32
    epsilon: float = EPSILON
    activation: str | None = None

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Normalises each example; the same in training and inference."""
        del train
        groups = math.gcd(MAX_GROUPS, x.channels)
        scale = self.param("scale", nn.initializers.ones, (x.channels,))
        bias = self.param("bias", nn.initializers.zeros, (x.channels,))
        split = x.data.reshape(*x.data.shape[:3], groups, -1)
        where = None if x.extent is None else inside(x)[..., None]
        # As in `batch_normed`, against a mean far from 0. The first pixel is in every extent.
        shift = lax.stop_gradient(split[:, :1, :1, :, :1].astype(jnp.float32))
        shifted = split.astype(jnp.float32) - shift
        mean, var = _moments(shifted, axes=(1, 2, 4), where=where)
        normed = (shifted - mean) * lax.rsqrt(var + self.epsilon)
        normed = normed.reshape(x.data.shape) * scale + bias
        return activated(self.activation, x.replace(data=normed.astype(self.dtype)))


class LayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016, arXiv:1607.06450) over the channels of each pixel.

    A pixel is normalised by itself alone, so an extent needs no care.
    """

    epsilon: float = 1e-6
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Normalises `[B, H, W, C]` over C, in float32; the same in training and inference."""
        scale = self.param("scale", nn.initializers.ones, (x.channels,))
        bias = self.param("bias", nn.initializers.zeros, (x.channels,))
        data = x.data.astype(jnp.float32)
        data = data - data.mean(-1, keepdims=True)
        var = lax.square(data).mean(-1, keepdims=True)
        normed = data * lax.rsqrt(var + self.epsilon) * scale + bias
        return x.replace(data=normed.astype(self.dtype))


def _moments(
    data: jax.Array, axes: tuple[int, ...], where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Mean and (biased) variance over some axes, which are kept, of data with a mean near 0."""
    mean = jnp.mean(data, axes, where=where, keepdims=True)
    # One pass over the data; rounding may take the difference below zero.
    square = jnp.mean(lax.square(data), axes, where=where, keepdims=True)
    return mean, jnp.maximum(square - lax.square(mean), 0)


class Identity(nn.Module):
    """No normalisation, behind the interface of the others."""

    dtype: jnp.dtype = jnp.float32
    epsilon: float = EPSILON
    activation: str | None = None

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Activates."""
        del train
        return activated(self.activation, x)


NORMS = MappingProxyType({"batch": BatchNorm, "group": GroupNorm, "none": Identity})
