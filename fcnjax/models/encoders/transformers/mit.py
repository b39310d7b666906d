"""Mix Transformers, the encoders of SegFormer."""

import functools
import itertools
import operator

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

EXPANSION = 4


class Block(nn.Module):
    """Attention, then two pointwise layers with a 3x3 depthwise convolution between them.

    Both have a residual connection, and a layer norm before them.

    Attributes:
        heads, reduction: As in `ReducedAttention`.
        drop_path: Probability of dropping a residual branch, in training.
        dtype: Dtype of the computation; parameters are float32.
        expansion: Channels between the pointwise layers, as a multiple of the others.
        epsilon: Of the layer norms.
    """

    heads: int
    reduction: int
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32
    expansion: float = EXPANSION
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        norm = functools.partial(LayerNorm, self.epsilon, self.dtype)
        attend = ReducedAttention(self.heads, self.reduction, self.dtype, name="attention")
        x = add(x, DropPath(self.drop_path)(attend(norm(name="norm1")(x)), train))
        conv = functools.partial(Conv, dtype=self.dtype)
        hidden = int(self.expansion * x.channels)
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
    no positional encoding, so any size works.

    Attributes:
        depths, widths, drop_path, dtype: As in `StagedEncoder`; the paper trains with a
            `drop_path` of 0.1.
        heads: Attention heads of each stage.
        reductions: The factor by which keys and values are reduced in each stage.
        expansions: Channels between the pointwise layers of each stage, as a multiple of its width.
        patches: Side of the convolution that embeds the patches of each stage.
        patch_strides: Its stride.
        epsilon: Of the layer norms of the blocks and stages: 1e-6, or 1e-5 in transformers.
    """

    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    expansions: tuple[float, ...] = (EXPANSION,) * 4
    patches: tuple[int, ...] = (7, 3, 3, 3)
    patch_strides: tuple[int, ...] = (4, 2, 2, 2)
    epsilon: float = 1e-6

    def __post_init__(self):
        """Raise ValueError where the fields do not fit each other."""
        super().__post_init__()
        for width, heads in zip(self.widths, self.heads, strict=True):
            if not heads or width % heads:
                raise ValueError(f"{width} channels cannot be divided among {heads} heads")

    @property
    def strides(self) -> tuple[int, ...]:
        """The products of the strides of the patches."""
        return tuple(itertools.accumulate(self.patch_strides, operator.mul))

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` for each."""
        rates = drop_path_rates(self.drop_path, self.depths)
        features = []
        for i, width in enumerate(self.widths, start=1):
            side, stride = self.patches[i - 1], self.patch_strides[i - 1]
            options = {"stride": stride, "padding": side // 2, "dtype": self.dtype}
            x = Conv(width, side, name=f"embed{i}", **options)(x)
            x = LayerNorm(epsilon=1e-5, dtype=self.dtype, name=f"embed{i}_norm")(x)
            for j, rate in enumerate(rates[i - 1]):
                fields = (self.heads[i - 1], self.reductions[i - 1], rate, self.dtype)
                block = Block(
                    *fields, self.expansions[i - 1], self.epsilon, name=f"stage{i}_block{j}"
                )
                x = block(x, train)
            x = LayerNorm(self.epsilon, self.dtype, name=f"stage{i}_norm")(x)
            features.append(x)
        return tuple(features)


_WIDTHS = (64, 128, 320, 512)
mit = functools.partial(MiT, depths=(2, 2, 2, 2), widths=(32, 64, 160, 256))
MITS = {
    "mit_b0": functools.partial(MiT, (2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": functools.partial(MiT, (2, 2, 2, 2), _WIDTHS),
    "mit_b2": functools.partial(MiT, (3, 4, 6, 3), _WIDTHS),
    "mit_b3": functools.partial(MiT, (3, 4, 18, 3), _WIDTHS),
    "mit_b4": functools.partial(MiT, (3, 8, 27, 3), _WIDTHS),
    "mit_b5": functools.partial(MiT, (3, 6, 40, 3), _WIDTHS),
}
