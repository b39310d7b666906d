"""Mix Transformers, the encoders of SegFormer."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers import (
    Conv,
    DropPath,
    FeatureMap,
    LayerNorm,
    ReducedAttention,
    activated,
    add,
    linear_init,
    tap_init,
)

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
EXPANSION = 4


class Block(nn.Module):
    """Attention, and two layers over the channels with a 3x3 convolution of each between them.

    Both stand beside a shortcut, each after a layer norm.

    Attributes:
        heads, reduction: As in `ReducedAttention`.
        drop_path: Probability of leaving only the shortcut, in training.
        dtype: Of the computation; parameters are float32.
    """

    heads: int
    reduction: int
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to the same shape."""
        norm = functools.partial(LayerNorm, dtype=self.dtype)
        attend = ReducedAttention(self.heads, self.reduction, self.dtype, name="attention")
        x = add(x, DropPath(self.drop_path)(attend(norm(name="norm1")(x)), train))
        conv = functools.partial(Conv, dtype=self.dtype)
        wide = EXPANSION * x.channels
        y = norm(name="norm2")(x)
        y = conv(wide, kernel=1, kernel_init=linear_init, name="expand")(y)
        y = conv(wide, kernel=3, groups=wide, kernel_init=tap_init, name="depthwise")(y)
        y = activated("gelu", y)
        y = conv(x.channels, kernel=1, kernel_init=linear_init, name="contract")(y)
        return add(x, DropPath(self.drop_path)(y, train))


class MiT(nn.Module):
    """Mix Transformer (Xie et al. 2021, arXiv:2105.15203), as segmentation_models.pytorch.

    Its norms are layer norms, its activation is the exact GELU: neither is an option. It has no
    positional encoding, so that any size works; the paper reduces keys and values by 8, 4, 2 and 1.

    Attributes:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        drop_path: Probability of dropping the last block's branches, in training; it rises from 0
            at the first block in equal steps. The paper trains with 0.1.
        dtype: Of the computation; parameters are float32.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @property
    def strides(self) -> tuple[int, ...]:
        """4, 8, 16, 32."""
        return tuple(4 * 2**i for i in range(len(self.depths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """The widths."""
        return self.widths

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` for each."""
        rates = np.split(np.linspace(0, self.drop_path, sum(self.depths)), np.cumsum(self.depths))
        features = []
        for i, width in enumerate(self.widths, start=1):
            side, stride = (7, 4) if i == 1 else (3, 2)
            embed = {"stride": stride, "padding": side // 2, "dtype": self.dtype}
            x = Conv(width, side, name=f"embed{i}", **embed)(x)
            x = LayerNorm(epsilon=1e-5, dtype=self.dtype, name=f"embed{i}_norm")(x)
            for j, rate in enumerate(rates[i - 1]):
                shape = (HEADS[i - 1], REDUCTIONS[i - 1], float(rate), self.dtype)
                x = Block(*shape, name=f"stage{i}_block{j}")(x, train)
            x = LayerNorm(dtype=self.dtype, name=f"stage{i}_norm")(x)
            features.append(x)
        return tuple(features)


_WIDTHS = (64, 128, 320, 512)
MiTB0 = functools.partial(MiT, (2, 2, 2, 2), (32, 64, 160, 256))
MiTB1 = functools.partial(MiT, (2, 2, 2, 2), _WIDTHS)
MiTB2 = functools.partial(MiT, (3, 4, 6, 3), _WIDTHS)
MiTB3 = functools.partial(MiT, (3, 4, 18, 3), _WIDTHS)
MiTB4 = functools.partial(MiT, (3, 8, 27, 3), _WIDTHS)
MiTB5 = functools.partial(MiT, (3, 6, 40, 3), _WIDTHS)
