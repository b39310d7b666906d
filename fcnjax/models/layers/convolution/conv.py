"""Convolutions, and the norms and activations that follow them. A kernel is `[h, w, in, out]`."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.convolution.depthwise import depthwise
from fcnjax.models.layers.convolution.dilated import dilated_conv
from fcnjax.models.layers.feature_map import FeatureMap, at_least, zero_outside
from fcnjax.models.layers.norm import EPSILON, NORMS, BatchNorm, activated
from fcnjax.models.layers.platform import current_platform

# He et al. 2015 (arXiv:1502.01852), as torchvision draws the convolutions of its relu nets.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# By the taps of one result: a depthwise kernel's many outputs would make its weights too small.
tap_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
# The collection of kernels and biases as inference uses them; `models.fold` makes it.
FOLDED = "folded"
_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Conv(nn.Module):
    """Convolution with a square kernel; outside the extent there is zero padding.

    Where the input has no room for the kernel, and torch would refuse it, zeros at the lower and
    right edges make room: the result has size one.

    Attributes:
        features: Output channels.
        kernel: Side of the kernel.
        stride: Step.
        dilation: Distance between the kernel's taps.
        padding: Zeros added at each edge, as torch counts, or before and after; None keeps the size
            at stride 1.
        groups: Parts of the channels that are convolved apart.
        use_bias: Whether a bias is added.
        dtype: Of the computation; parameters are float32.
        kernel_init: Initialiser of the kernel.
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

    @nn.compact
    def __call__(
        self, x: FeatureMap, affine: tuple[jax.Array, jax.Array] | None = None
    ) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H', W', features]` with torch's rule for sizes.

        Args:
            x: Input.
            affine: A factor and a shift `[features]` that the result is mapped by; None: neither.
        """
        kernel, bias, order = self._weights(x.channels, affine)
        dilation, padding = self._over(x.batch_factor)
        reach = dilation * (self.kernel - 1)
        padding = reach // 2 if padding is None else padding
        before, after = padding if isinstance(padding, tuple) else (padding, padding)
        # A 1x1 convolution without padding mixes no pixels: what lies outside stays outside.
        data = x.data if self.kernel == 1 and before + after == 0 else zero_outside(x)
        room = [at_least(reach + 1 - size - before - after, 0) for size in x.size]
        data = data.astype(self.dtype)
        pads = tuple((before, after + more) for more in room)
        if self._is_depthwise(x.channels):
            data = depthwise(data, kernel, self.stride, dilation, pads)
        elif dilation > 1 and self.groups == self.stride == 1 and order == "HWIO":
            data = dilated_conv(data, kernel, dilation, pads)
        else:
            data = lax.conv_general_dilated(
                data,
                kernel,
                window_strides=(self.stride, self.stride),
                padding=pads,
                rhs_dilation=(dilation, dilation),
                dimension_numbers=("NHWC", order, "NHWC"),
                feature_group_count=self.groups,
            )
        if bias is not None:
            data = data + bias
        extent = x.extent
        if extent is not None:
            extent = at_least((extent + before + after - reach - 1) // self.stride, 0) + 1
        return x.replace(data=data, extent=extent)

    def _is_depthwise(self, channels: int) -> bool:
        return self.groups == channels == self.features > 1

    def _weights(
        self, channels: int, affine: tuple[jax.Array, jax.Array] | None
    ) -> tuple[jax.Array, jax.Array | None, str]:
        """The kernel and the bias as they are used, and the order of the kernel's axes."""
        # cuDNN wants the outputs first, and would be given a transposed copy at each call.
        order = "OHWI" if current_platform().is_gpu and not self._is_depthwise(channels) else "HWIO"
        if folded := kept_folded(self):
            return *folded, order
        shape = (self.kernel, self.kernel, channels // self.groups, self.features)
        kernel, bias = self.param("kernel", self.kernel_init, shape), None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if affine is not None:
            kernel = kernel * affine[0]
            bias = affine[1] if bias is None else bias * affine[0] + affine[1]
        kernel = kernel.astype(self.dtype)
        bias = None if bias is None else bias.astype(self.dtype)
        keep_folded(self, kernel.transpose(3, 0, 1, 2) if order == "OHWI" else kernel, bias)
        return kernel, bias, "HWIO"

    def _over(self, batch_factor: int) -> tuple[int, int | tuple[int, int] | None]:
        """Dilation and padding over a map in phases."""
        if batch_factor == 1 or self.kernel == self.stride == 1:
            return self.dilation, self.padding
        kept = self.padding in (None, self.dilation * (self.kernel - 1) // 2)
        if self.stride > 1 or self.dilation % batch_factor or not kept:
            raise ValueError(
                f"space_to_batch by {batch_factor} is for convolutions of such a dilation"
            )
        return self.dilation // batch_factor, None


def kept_folded(module: nn.Module) -> tuple[jax.Array, jax.Array | None] | None:
    """The kernel and bias of a module in the collection `folded`, if they are there."""
    if not module.has_variable(FOLDED, "kernel"):
        return None
    return module.get_variable(FOLDED, "kernel"), module.get_variable(FOLDED, "bias")


def keep_folded(module: nn.Module, kernel: jax.Array, bias: jax.Array | None) -> None:
    """Puts them into the collection `folded`, where that is being made."""
    if module.is_mutable_collection(FOLDED) and not module.is_initializing():
        module.put_variable(FOLDED, "kernel", kernel)
        if bias is not None:
            module.put_variable(FOLDED, "bias", bias)


class ConvNormAct(nn.Module):
    """Convolution (`conv`), normalisation (`norm`), activation: the block of every model here.

    Attributes:
        features, kernel, stride, padding, dilation, groups, dtype, kernel_init: As in `Conv`.
        norm: A name in `NORMS`.
        activation: A name in `ACTIVATIONS`, or None.
        use_bias: Whether the convolution has a bias; None: only where nothing normalises.
        epsilon: Added to the variance by the norm.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    padding: int | tuple[int, int] | None = None
    norm: str = "batch"
    activation: str | None = "relu"
    use_bias: bool | None = None
    dtype: jnp.dtype = jnp.float32
    dilation: int = 1
    groups: int = 1
    epsilon: float = EPSILON
    kernel_init: nn.initializers.Initializer = he_normal

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H', W', features]`."""
        use_bias = self.norm == "none" if self.use_bias is None else self.use_bias
        conv = Conv(
            self.features,
            self.kernel,
            self.stride,
            self.dilation,
            self.padding,
            self.groups,
            use_bias=use_bias,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="conv",
        )
        options = {"dtype": self.dtype, "epsilon": self.epsilon, "activation": self.activation}
        return normed(conv, NORMS[self.norm](**options, name="norm"), x, train)


def normed(conv: nn.Module, norm: nn.Module, x: FeatureMap, train: bool) -> FeatureMap:
    """A convolution and what normalises and activates it.

    Where batch norm's statistics are known, it is part of the convolution's kernel and bias, and a
    GPU's convolution adds the bias and activates by itself. On a CPU that gains nothing.
    """
    if train or not isinstance(norm, BatchNorm) or current_platform().is_cpu:
        return norm(conv(x), train)
    return activated(norm.activation, conv(x, norm.affine(conv.features)))
