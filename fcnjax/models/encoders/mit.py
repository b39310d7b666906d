"""Mix Transformers, the encoders of SegFormer."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.encoders.stages import StagedEncoder, drop_path_rates
from fcnjax.models.layers import (
    Conv,
    DropPath,
    FeatureMap,
    LayerNorm,
    ReducedAttention,
    activate,
    add,
    he_normal_fan_in,
    linear_init,
)

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
EXPANSION = 4


class Block(nn.Module):
    """Attention, then two pointwise layers with a 3x3 depthwise convolution between them.

    Both have a residual connection, and a layer norm before them.

    Attributes:
        heads, reduction: As in `ReducedAttention`.
        drop_path: Probability of dropping a residual branch, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    heads: int
    reduction: int
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        norm = functools.partial(LayerNorm, dtype=self.dtype)
        attend = ReducedAttention(self.heads, self.reduction, self.dtype, name="attention")
        x = add(x, DropPath(self.drop_path)(attend(norm(name="norm1")(x)), train))
        conv = functools.partial(Conv, dtype=self.dtype)
        hidden = EXPANSION * x.channels
        y = norm(name="norm2")(x)
        y = conv(hidden, kernel=1, kernel_init=linear_init, name="expand")(y)
        depthwise = {"groups": hidden, "kernel_init": he_normal_fan_in}
        y = conv(hidden, kernel=3, name="depthwise", **depthwise)(y)
        y = activate("gelu", y)
        y = conv(x.channels, kernel=1, kernel_init=linear_init, name="contract")(y)
        return add(x, DropPath(self.drop_path)(y, train))


class MiT(StagedEncoder):
    """Mix Transformer (Xie et al. 2021, arXiv:2105.15203), as segmentation_models.pytorch.

    The norms are layer norms and the activation is the exact GELU; neither is an option. There is
    no positional encoding, so any size works. Keys and values are reduced by 8, 4, 2 and 1.

    Attributes:
        depths, widths, drop_path, dtype: As in `StagedEncoder`; the paper trains with a
            `drop_path` of 0.1.
    """

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` for each."""
        rates = drop_path_rates(self.drop_path, self.depths)
        features = []
        for i, width in enumerate(self.widths, start=1):
            side, stride = (7, 4) if i == 1 else (3, 2)
            options = {"stride": stride, "padding": side // 2, "dtype": self.dtype}
            x = Conv(width, side, name=f"embed{i}", **options)(x)
            x = LayerNorm(epsilon=1e-5, dtype=self.dtype, name=f"embed{i}_norm")(x)
            for j, rate in enumerate(rates[i - 1]):
                fields = (HEADS[i - 1], REDUCTIONS[i - 1], rate, self.dtype)
                x = Block(*fields, name=f"stage{i}_block{j}")(x, train)
            x = LayerNorm(dtype=self.dtype, name=f"stage{i}_norm")(x)
            features.append(x)
        return tuple(features)


_WIDTHS = (64, 128, 320, 512)
MITS = {
    "mit_b0": functools.partial(MiT, (2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": functools.partial(MiT, (2, 2, 2, 2), _WIDTHS),
    "mit_b2": functools.partial(MiT, (3, 4, 6, 3), _WIDTHS),
    "mit_b3": functools.partial(MiT, (3, 4, 18, 3), _WIDTHS),
    "mit_b4": functools.partial(MiT, (3, 8, 27, 3), _WIDTHS),
    "mit_b5": functools.partial(MiT, (3, 6, 40, 3), _WIDTHS),
}
