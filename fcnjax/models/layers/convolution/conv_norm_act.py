"""Convolution, normalisation and activation: the block that all models are made of."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.convolution.conv import (
    ConcatConv,
    Conv,
    ResizedMaps,
    he_normal,
)
from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.norm import EPSILON, NORMS, BatchNorm, activate
from fcnjax.models.layers.platform import current_platform


class ConvNormAct(nn.Module):
    """Convolution (`conv`), normalisation (`norm`) and activation.

    Attributes:
        features, kernel, stride, padding, dilation, groups, dtype, kernel_init: As in `Conv`.
        norm: A name in `NORMS`.
        activation: A name in `ACTIVATIONS`, or None.
        use_bias: Whether the convolution has a bias; None adds one only without a norm.
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
    def __call__(self, x: FeatureMap | ResizedMaps, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to `[B, H', W', features]`.

        Args:
            x: A map; or several, if the kernel is 1.
            train: Whether batch norm uses and updates the batch's statistics.
        """
        use_bias = self.norm == "none" if self.use_bias is None else self.use_bias
        conv = (ConcatConv if isinstance(x, ResizedMaps) else Conv)(
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
        return conv_norm_act(conv, NORMS[self.norm](**options, name="norm"), x, train)


def conv_norm_act(
    conv: nn.Module, norm: nn.Module, x: FeatureMap | ResizedMaps, train: bool
) -> FeatureMap:
    """Apply a convolution, and the norm and activation after it.

    In inference, except on CPUs, batch norm is folded into the convolution's kernel and bias: a
    GPU's convolution adds the bias and activates at no cost. On a CPU nothing would be gained.
    """
    if train or not isinstance(norm, BatchNorm) or current_platform().is_cpu:
        return norm(conv(x), train)
    return activate(norm.activation, conv(x, norm.affine(conv.features)))


class ConvModule(nn.Module, kw_only=True):
    """Base of modules made of `ConvNormAct` blocks; its fields are keyword-only.

    Attributes:
        norm, activation, dtype: As in `ConvNormAct`.
    """

    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @property
    def block_options(self) -> dict[str, Any]:
        """The fields that this module passes on to its blocks."""
        return {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}

    def conv_block(self, features: int, kernel: int = 3, **options: Any) -> ConvNormAct:
        """Return a `ConvNormAct` with this module's norm, activation and dtype."""
        return ConvNormAct(features, kernel, **{**self.block_options, **options})

    def norm_act(self, name: str) -> nn.Module:
        """Return the norm, followed by the activation, without a convolution before it."""
        return NORMS[self.norm](dtype=self.dtype, activation=self.activation, name=name)
