"""The transposed convolution of FC-DenseNet."""

import functools

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcnjax.models.layers.feature_map import FeatureMap, zero_outside
from fcnjax.models.layers.unpool import interleave

# Results at even positions see two taps, the last before the first, at odd ones the middle one:
# the taps as a slice of the kernel, and the zeros before and after the input.
_EVEN = (slice(None, None, -2), (1, 1))
_ODD = (slice(1, 2), (0, 1))


class ConvTranspose3x3(nn.Module):
    """Transposed convolution with a 3x3 kernel and stride 2: size n becomes 2n + 1.

    Written as four convolutions, of the even and odd rows and columns of the result, since XLA
    lowers the gradients of a transposed convolution badly. The kernel, `transposed_kernel`, is
    oriented as torch's.

    Attributes:
        features: Output channels.
        dtype: Of the computation; parameters are float32.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, 2H + 1, 2W + 1, features]`."""
        # A quarter of the nine taps meets in a pixel of the result, on average.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "normal")
        kernel = self.param("transposed_kernel", init, (3, 3, x.channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        conv = functools.partial(
            lax.conv_general_dilated,
            zero_outside(x).astype(self.dtype),
            window_strides=(1, 1),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        kernel = kernel.astype(self.dtype)
        data = interleave(
            [
                conv(kernel[rows, columns], padding=(vertical, horizontal))
                for rows, vertical in (_EVEN, _ODD)
                for columns, horizontal in (_EVEN, _ODD)
            ]
        )
        data = data[:, :-1, :-1] + bias.astype(self.dtype)
        return FeatureMap(data, None if x.extent is None else 2 * x.extent + 1)
