"""Normalisation and activations."""

import contextvars
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap, extent_mask, map_data
from fcnjax.models.layers.platform import current_platform, override


# Jitted, as `layer_norm` is, so that the name marks it in a program: ONNX has operators for both.
@jax.jit
def gelu(x: jax.Array) -> jax.Array:
    """Return the Gaussian error linear unit (Hendrycks and Gimpel 2016), without approximation."""
    return nn.gelu(x, approximate=False)


_is_frozen = contextvars.ContextVar("frozen_norms", default=None)
ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=0.01),
    "gelu": gelu,
    "silu": nn.silu,
    "hard_swish": nn.hard_swish,
}
EPSILON = 1e-5
MAX_GROUPS = 32


def batch_norm_inference(is_frozen: Callable[[str], bool] | None) -> AbstractContextManager:
    """Leave some batch norms in inference mode in models applied with `train=True`.

    They normalise by their running statistics, and do not update them.

    Args:
        is_frozen: Selects norms by path, such as `encoder/layer1_0/conv1/norm`; None selects none.
    """
    return override(_is_frozen, is_frozen)


def is_norm_frozen(path: Sequence[str]) -> bool:
    """Return whether the batch norm at `path` stays in inference mode."""
    is_frozen = _is_frozen.get()
    return is_frozen is not None and is_frozen("/".join(path))


def activate(name: str | None, x: FeatureMap) -> FeatureMap:
    """Apply the activation of that name in `ACTIVATIONS`; None applies none."""
    return x if name is None else map_data(ACTIVATIONS[name], x)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167), followed by an activation.

    Parameters, running statistics and all sums are float32. Over a sharded batch the statistics
    are global. As in the paper and in torch, the batch is normalised by its biased variance, and
    the running variance averages the unbiased one (over n - 1).

    Attributes:
        dtype: Dtype of the result.
        momentum: The weight of the old running statistics in an update (1 minus torch's).
        epsilon: Added to the variance.
        activation: A name in `ACTIVATIONS`, or None.
    """

    dtype: jnp.dtype = jnp.float32
    momentum: float = 0.9
    epsilon: float = EPSILON
    activation: str | None = None

    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Normalise by the batch's statistics (`train`) or by the running ones.

        Within `batch_norm_inference`, training too uses the running ones.

        Raises:
            ValueError: An extent in training: padding would count in the statistics.
        """
        train = train and not is_norm_frozen(self.path)
        if train and x.extent is not None:
            raise ValueError("batch norm cannot be trained on padded examples: extent must be None")
        scale, bias, running_mean, running_var = self.state(x.channels)
        if not train:
            mean, factor = running_mean.value, scale * lax.rsqrt(running_var.value + self.epsilon)
            # data * factor alone may be far from 0, and lose precision there.
            normed = map_data(lambda data: (data.astype(jnp.float32) - mean) * factor + bias, x)
            return map_data(lambda data: data.astype(self.dtype), activate(self.activation, normed))
        data, mean, var = batch_norm_train(
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
        """Return scale and bias `[channels]`, and the variables of running mean and variance."""
        shape = (channels,)
        return (
            self.param("scale", nn.initializers.ones, shape),
            self.param("bias", nn.initializers.zeros, shape),
            self.variable("batch_stats", "mean", jnp.zeros, shape),
            self.variable("batch_stats", "var", jnp.ones, shape),
        )

    def affine(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Return the factor and shift `[channels]` of inference, to fold into a kernel."""
        scale, bias, mean, var = self.state(channels)
        factor = scale * lax.rsqrt(var.value + self.epsilon)
        return factor, bias - mean.value * factor


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def batch_norm_train(
    data: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: str | None,
    dtype: jnp.dtype,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalise each channel by its mean and variance over the batch, and activate.

    The gradient saves only `data` (bfloat16 where the model computes in it) and recomputes the
    rest; automatic differentiation would also save the normalised data, in float32. No gradient
    flows through the returned statistics.

    Mean and variance are computed in one pass over `data - shift`, where the shift is a pixel of
    the data, so that a large mean cancels before it is squared. Without it, rounding would destroy
    the variance where the mean is 1,000 standard deviations or more.

    Args:
        data: `[B, H, W, C]`.
        scale: float32 `[C]`.
        bias: float32 `[C]`.
        epsilon: Added to the variance.
        activation: A name in `ACTIVATIONS`, or None.
        dtype: Dtype of the result.

    Returns:
        The result `[B, H, W, C]`, and the mean and the (biased) variance, float32 `[C]`.
    """
    wide, shift = data.astype(jnp.float32), _reference_pixel(data).astype(jnp.float32)
    count, shifted = data.size // data.shape[-1], wide - shift
    mean, square = (total / count for total in _channel_sums(shifted, lax.square(shifted)))
    var = jnp.maximum(square - lax.square(mean), 0)  # rounding may make it negative
    mean = shift + mean
    normed = (wide - mean) * (scale * lax.rsqrt(var + epsilon)) + bias
    if activation is not None:
        normed = ACTIVATIONS[activation](normed)
    return normed.astype(dtype), mean, var


def _batch_norm_forward(data, scale, bias, epsilon, activation, dtype):
    normed, mean, var = batch_norm_train(data, scale, bias, epsilon, activation, dtype)
    return (normed, mean, var), (data, scale, bias, mean, var)


def _batch_norm_backward(epsilon, activation, dtype, residuals, cotangents):
    del dtype  # the cotangent has it
    data, scale, bias, mean, var = residuals
    grad = cotangents[0].astype(jnp.float32)
    inverse = lax.rsqrt(var + epsilon)
    normed = (data.astype(jnp.float32) - mean) * inverse
    if activation is not None:
        _, vjp = jax.vjp(ACTIVATIONS[activation], normed * scale + bias)
        (grad,) = vjp(grad)
    bias_grad, scale_grad = _channel_sums(grad, grad * normed)
    count = data.size // data.shape[-1]
    data_grad = (scale * inverse) * (grad - (bias_grad + normed * scale_grad) / count)
    return data_grad.astype(data.dtype), scale_grad, bias_grad


batch_norm_train.defvjp(_batch_norm_forward, _batch_norm_backward)


def _reference_pixel(data: jax.Array) -> jax.Array:
    """Return a pixel `[C]` of the first example of `[B, H, W, C]`.

    It is from the middle, far from the zero padding of convolutions. Where rows are sharded, it is
    from the first device's rows, so that devices exchange the pixel and not a row.
    """
    _, height, width, _ = data.shape
    return data[0, height // (2 * current_platform().spatial), width // 2]


def _channel_sums(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the sums `[C]` of two arrays `[B, H, W, C]`."""
    if not current_platform().is_gpu:
        return a.sum((0, 1, 2)), b.sum((0, 1, 2))
    # On a GPU, one reduction of both takes half the kernels.
    zero = jnp.zeros((), a.dtype)
    return lax.reduce((a, b), (zero, zero), lambda x, y: (x[0] + y[0], x[1] + y[1]), (0, 1, 2))


class GroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018, arXiv:1803.08494) over the valid pixels.

    The number of groups is the greatest common divisor of `max_groups` and the channels. An
    activation follows, as in `BatchNorm`.
    """

    dtype: jnp.dtype = jnp.float32
    epsilon: float = EPSILON
    activation: str | None = None
    max_groups: int = MAX_GROUPS

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Normalise each example; training and inference are the same."""
        del train
        groups = math.gcd(self.max_groups, x.channels)
        scale = self.param("scale", nn.initializers.ones, (x.channels,))
        bias = self.param("bias", nn.initializers.zeros, (x.channels,))
        split = x.data.reshape(*x.data.shape[:3], groups, -1)
        where = None if x.extent is None else extent_mask(x)[..., None]
        # As in `batch_norm_train`, a large mean cancels. The first pixel is in every extent.
        wide = split.astype(jnp.float32)
        moment = functools.partial(jnp.mean, axis=(1, 2, 4), where=where, keepdims=True)
        # One group may be mostly zeros, which are all far from its first pixel.
        shift = moment(wide) if groups == 1 else wide[:, :1, :1, :, :1]
        shifted = wide - lax.stop_gradient(shift)
        mean, square = moment(shifted), moment(lax.square(shifted))
        var = jnp.maximum(square - lax.square(mean), 0)  # rounding may make it negative
        normed = (shifted - mean) * lax.rsqrt(var + self.epsilon)
        normed = normed.reshape(x.data.shape) * scale + bias
        return activate(self.activation, x.replace(data=normed.astype(self.dtype)))


@jax.jit
def layer_norm(
    data: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float | jax.Array
) -> jax.Array:
    """Normalise `[..., C]` over C to mean 0 and variance 1; multiply by `scale` and add `bias`."""
    data = data - data.mean(-1, keepdims=True)
    var = lax.square(data).mean(-1, keepdims=True)
    return data * lax.rsqrt(var + epsilon) * scale + bias


class LayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016, arXiv:1607.06450) over the channels of each pixel.

    Each pixel is normalised on its own, so the extent does not matter.
    """

    epsilon: float = 1e-6
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Normalise `[B, H, W, C]` over C, in float32; training and inference are the same."""
        scale = self.param("scale", nn.initializers.ones, (x.channels,))
        bias = self.param("bias", nn.initializers.zeros, (x.channels,))
        normed = layer_norm(x.data.astype(jnp.float32), scale, bias, self.epsilon)
        return x.replace(data=normed.astype(self.dtype))


class Identity(nn.Module):
    """No normalisation, only the activation."""

    dtype: jnp.dtype = jnp.float32
    epsilon: float = EPSILON
    activation: str | None = None

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Apply the activation."""
        del train
        return activate(self.activation, x)


NORMS = {"batch": BatchNorm, "group": GroupNorm, "none": Identity}
