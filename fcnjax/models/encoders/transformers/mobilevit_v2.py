"""MobileViTV2, whose attention is linear in the number of pixels."""

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.encoders.inverted import round_channels
from fcnjax.models.encoders.transformers.mobilevit import MobileViTBase, check_lengths
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    GroupNorm,
    SeparableAttention,
    activate,
    add,
    crop_to_multiple,
    dropout,
    linear_init,
    map_data,
    restore_size,
)

FFN_DIVISOR = 16


class SeparableLayer(nn.Module):
    """Separable attention, then two pointwise layers.

    Both have a residual connection and a norm over channels and pixels before them.

    Attributes:
        hidden: Channels between the pointwise layers.
        patch, attention_dropout: As in `SeparableAttention`.
        activation: A name in `ACTIVATIONS`, between the pointwise layers.
        dropout: Probability of dropping a value after each pointwise layer, in training.
        epsilon: Of the norms.
        dtype: Dtype of the computation; parameters are float32.
    """

    hidden: int
    patch: int = 2
    activation: str = "silu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        norm = {"dtype": self.dtype, "epsilon": self.epsilon, "max_groups": 1}
        attention = SeparableAttention(
            self.patch, self.attention_dropout, self.dtype, name="attention"
        )
        x = add(x, attention(GroupNorm(**norm, name="norm1")(x, train), train))
        linear = {"kernel": 1, "kernel_init": linear_init, "dtype": self.dtype}
        y = GroupNorm(**norm, name="norm2")(x, train)
        y = activate(self.activation, Conv(self.hidden, name="expand", **linear)(y))
        y = map_data(dropout(self.dropout, train), y)
        y = Conv(x.channels, name="contract", **linear)(y)
        return add(x, map_data(dropout(self.dropout, train), y))


class MobileViTV2(MobileViTBase):
    """MobileViTV2 (Mehta and Rastegari 2022, arXiv:2206.02680), as transformers.

    Where the patches do not divide a feature map, the rest at its lower and right edges is not
    seen by the transformer, whose result is zero there.

    Attributes:
        width_multiplier: Factor of all numbers of channels.
        attention_widths: Channels of the transformers of the last three stages, before that.
        depths: Layers of these transformers.
        ffn_multiplier: Channels between their pointwise layers, as a multiple of the others; they
            are rounded down to a multiple of 16.
        ffn_dropout: Probability of dropping a value after each pointwise layer, in training.
        attention_dropout: Probability of dropping an attention score, in training.
        expansion, kernel, patch, block_activation: As in `MobileViTBase`.
        output_stride, layer_norm_epsilon: As in `MobileViTBase`.
        norm, epsilon, dtype: As in `ConvNormAct`.
    """

    width_multiplier: float = 1.0
    attention_widths: tuple[int, ...] = (128, 192, 256)
    depths: tuple[int, ...] = (2, 4, 3)
    expansion: float = 2.0
    ffn_multiplier: float = 2.0
    ffn_dropout: float = 0.0
    attention_dropout: float = 0.0
    mobile_depths = (1, 2)

    def __post_init__(self):
        """Raise ValueError where a list has another length."""
        check_lengths({"attention_widths": 3, "depths": 3}, self)
        super().__post_init__()

    @property
    def all_widths(self) -> tuple[int, ...]:
        """Channels of the stem and of each stage."""
        stem = round_channels(min(max(32 * self.width_multiplier, 16), 64))
        first = round_channels(64 * self.width_multiplier, 16)
        others = (round_channels(width * self.width_multiplier) for width in (128, 256, 384, 512))
        return stem, first, *others

    def global_block(self, index: int, x: FeatureMap, train: bool) -> FeatureMap:
        """Apply a depthwise convolution and a transformer over the map."""
        name = f"stage{index + 3}"
        width = round_channels(self.attention_widths[index] * self.width_multiplier)
        local = {"kernel": self.kernel, "groups": x.channels}
        y = self.block_conv(x.channels, f"{name}_local", **local)(x, train)
        y = Conv(width, 1, use_bias=False, dtype=self.dtype, name=f"{name}_embed")(y)
        patches = crop_to_multiple(y, self.patch)
        layer = {"hidden": int(self.ffn_multiplier * width // FFN_DIVISOR * FFN_DIVISOR)}
        layer |= {"patch": self.patch, "activation": self.block_activation, "dtype": self.dtype}
        layer |= {"dropout": self.ffn_dropout, "attention_dropout": self.attention_dropout}
        layer["epsilon"] = self.layer_norm_epsilon
        for j in range(self.depths[index]):
            patches = SeparableLayer(name=f"{name}_layer{j}", **layer)(patches, train)
        norm = {"dtype": self.dtype, "epsilon": self.layer_norm_epsilon, "max_groups": 1}
        patches = GroupNorm(**norm, name=f"{name}_norm")(patches, train)
        y = restore_size(patches, y)
        return self.block_conv(x.channels, f"{name}_project", kernel=1, activation=None)(y, train)
