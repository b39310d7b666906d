"""Convolution layers: plain, of several maps, and depthwise separable.

A kernel is `[height, width, in, out]`.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers.convolution.gradient import convolve
from fcnjax.models.layers.convolution.implementations import depthwise
from fcnjax.models.layers.feature_map import FeatureMap, max_dim, zero_outside
from fcnjax.models.layers.platform import current_platform
from fcnjax.models.layers.resize import resize_like

# The collection of these weights; `models.fold_batch_norm` makes it.
FOLDED = "folded"


def read_folded(module: nn.Module) -> tuple[jax.Array, jax.Array | None] | None:
    """Return the folded kernel and bias of a module; None where it has none."""
    if not module.has_variable(FOLDED, "kernel"):
        return None
    return module.get_variable(FOLDED, "kernel"), module.get_variable(FOLDED, "bias")


def store_folded(module: nn.Module, kernel: jax.Array, bias: jax.Array | None) -> None:
    """Store a module's folded kernel and bias where the collection is being made."""
    if module.is_mutable_collection(FOLDED) and not module.is_initializing():
        module.put_variable(FOLDED, "kernel", kernel)
        if bias is not None:
            module.put_variable(FOLDED, "bias", bias)


# He et al. 2015 (arXiv:1502.01852), as torchvision draws the convolutions of its ReLU networks.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# For depthwise kernels, whose many output channels would make the weights too small.
he_normal_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
# For convolutions that no ReLU follows, such as those that return logits.
lecun_normal = nn.initializers.lecun_normal()


class Conv(nn.Module):
    """Convolution with a square kernel, and zero padding outside the extent.

    Where the input is smaller than the kernel, and torch would raise an error, zeros are added at
    the lower and right edges, and the result has size one.

    Attributes:
        features: Output channels.
        kernel: Kernel size.
        stride: Stride.
        dilation: Dilation of the kernel.
        padding: Zeros added at each edge, as torch counts, or before and after; None keeps the size
            at stride 1.
        groups: Groups of channels that are convolved separately.
        use_bias: Whether a bias is added.
        dtype: Dtype of the computation; parameters are float32.
        kernel_init: Initialiser of the kernel.
        bias_init: Initialiser of the bias.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int | tuple[int, int] | None = None
    groups: int = 1
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = he_normal
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(
        self, x: FeatureMap, affine: tuple[jax.Array, jax.Array] | None = None
    ) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H', W', features]`, with torch's rule for sizes.

        Args:
            x: Input.
            affine: A factor and a shift `[features]` applied to the result, or None.
        """
        kernel, bias, order = self._weights(x.channels, affine)
        dilation, padding = self._dilation_and_padding(x.batch_factor)
        reach = dilation * (self.kernel - 1)
        padding = reach // 2 if padding is None else padding
        before, after = padding if isinstance(padding, tuple) else (padding, padding)
        # A 1x1 convolution without padding mixes no pixels, so values outside stay outside.
        data = x.data if self.kernel == 1 and before + after == 0 else zero_outside(x)
        missing = [max_dim(reach + 1 - size - before - after, 0) for size in x.size]
        data = data.astype(self.dtype)
        pads = tuple((before, after + more) for more in missing)
        if self._is_depthwise(x.channels):
            data = depthwise(data, kernel, self.stride, dilation, pads)
        else:
            options = {"stride": self.stride, "groups": self.groups, "order": order}
            data = convolve(data, kernel, dilation, pads, **options)
        if bias is not None:
            data = data + bias
        extent = x.extent
        if extent is not None:
            extent = max_dim((extent + before + after - reach - 1) // self.stride, 0) + 1
        return x.replace(data=data, extent=extent)

    def _is_depthwise(self, channels: int) -> bool:
        return self.groups == channels == self.features > 1

    def _weights(
        self, channels: int, affine: tuple[jax.Array, jax.Array] | None
    ) -> tuple[jax.Array, jax.Array | None, str]:
        """Return the kernel and the bias as they are used, and the order of the kernel's axes."""
        # cuDNN wants the output channels first, and would transpose the kernel at each call.
        order = "OHWI" if current_platform().is_gpu and not self._is_depthwise(channels) else "HWIO"
        if folded := read_folded(self):
            return *folded, order
        shape = (self.kernel, self.kernel, channels // self.groups, self.features)
        kernel, bias = self.param("kernel", self.kernel_init, shape), None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
        if affine is not None:
            kernel = kernel * affine[0]
            bias = affine[1] if bias is None else bias * affine[0] + affine[1]
        kernel = kernel.astype(self.dtype)
        bias = None if bias is None else bias.astype(self.dtype)
        store_folded(self, kernel.transpose(3, 0, 1, 2) if order == "OHWI" else kernel, bias)
        return kernel, bias, "HWIO"

    def _dilation_and_padding(self, batch_factor: int) -> tuple[int, int | tuple[int, int] | None]:
        """Return dilation and padding over a map that `space_to_batch` rearranged."""
        if batch_factor == 1 or self.kernel == self.stride == 1:
            return self.dilation, self.padding
        keeps_size = self.padding in (None, self.dilation * (self.kernel - 1) // 2)
        if self.stride > 1 or self.dilation % batch_factor or not keeps_size:
            raise ValueError(
                f"space_to_batch by {batch_factor} needs convolutions of stride 1 that keep the "
                f"size, with a dilation that is a multiple of {batch_factor}"
            )
        return self.dilation // batch_factor, None


class ResizedMaps(NamedTuple):
    """Maps that are resized to the size and extent of another, and concatenated.

    Attributes:
        maps: The maps.
        like: A map of the size and extent.
    """

    maps: Sequence[FeatureMap]
    like: FeatureMap


class ConcatConv(Conv):
    """A 1x1 convolution of resized maps.

    Both are linear, and a 1x1 convolution mixes no pixels. So each map is convolved at its own size
    with its part of the kernel, and the results are resized and summed: for maps that are enlarged,
    that multiplies less, and no map has all channels.
    """

    kernel: int = 1

    @nn.compact
    def __call__(
        self, x: ResizedMaps, affine: tuple[jax.Array, jax.Array] | None = None
    ) -> FeatureMap:
        """Return `[B, H, W, features]`, of the size of `x.like`; `affine` as in `Conv`."""
        channels = [each.channels for each in x.maps]
        kernel, bias, order = self._weights(sum(channels), affine)
        parts = jnp.split(kernel, np.cumsum(channels)[:-1], order.index("I"))
        total = jnp.float32(0)
        for each, part in zip(x.maps, parts, strict=True):
            data = convolve(each.data.astype(self.dtype), part, order=order)
            total = total + resize_like(each.replace(data=data), x.like).data
        if bias is not None:
            total = total + bias
        return x.like.replace(data=total.astype(self.dtype))


class SeparableConv(nn.Module):
    """A 3x3 depthwise convolution, then a 1x1 one, without biases.

    Attributes:
        features: Output channels.
        dilation: Dilation of the 3x3 kernel.
        dtype: Dtype of the computation.
    """

    features: int
    dilation: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: FeatureMap, affine: tuple[jax.Array, jax.Array] | None = None
    ) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H, W, features]`; `affine` as in `Conv`."""
        conv = functools.partial(Conv, use_bias=False, dtype=self.dtype)
        options = {"dilation": self.dilation, "groups": x.channels, "kernel_init": he_normal_fan_in}
        x = conv(x.channels, name="depthwise", **options)(x)
        return conv(self.features, kernel=1, name="pointwise")(x, affine)
