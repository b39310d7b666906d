"""ConvNeXt."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.encoders.stages import StagedEncoder, drop_path_rates
from fcnjax.models.layers import Conv, DropPath, FeatureMap, LayerNorm, activate, add, map_data

LAYER_SCALE = 1e-6
_init = nn.initializers.truncated_normal(0.02)


class Block(nn.Module):
    """A 7x7 depthwise convolution and two pointwise layers, with a residual connection.

    Attributes:
        width: Channels.
        drop_path: Probability of dropping the residual branch, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    width: int
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, width]` to the same shape."""
        conv = functools.partial(Conv, dtype=self.dtype, kernel_init=_init)
        y = conv(self.width, kernel=7, groups=self.width, name="depthwise")(x)
        y = LayerNorm(dtype=self.dtype, name="norm")(y)
        y = conv(4 * self.width, kernel=1, name="expand")(y)
        y = activate("gelu", y)
        y = conv(self.width, kernel=1, name="contract")(y)
        gamma = self.param("gamma", nn.initializers.constant(LAYER_SCALE), (self.width,))
        y = map_data(lambda data: data * gamma.astype(self.dtype), y)
        return add(x, DropPath(self.drop_path)(y, train))


class ConvNeXt(StagedEncoder):
    """ConvNeXt (Liu et al. 2022, arXiv:2201.03545), as timm, without its classifier.

    The norms are layer norms and the activation is the exact GELU; neither is an option. As in
    timm's feature extractor, the features are not normalised.

    Attributes:
        depths, widths, drop_path, dtype: As in `StagedEncoder`.
    """

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), width]` each."""
        rates = drop_path_rates(self.drop_path, self.depths)
        conv = functools.partial(Conv, padding=0, dtype=self.dtype, kernel_init=_init)
        norm = functools.partial(LayerNorm, dtype=self.dtype)
        features = []
        for i, width in enumerate(self.widths, start=1):
            if i == 1:
                x = conv(width, kernel=4, stride=4, name="stem")(x)
                x = norm(name="stem_norm")(x)
            else:
                x = norm(name=f"down{i}_norm")(x)
                x = conv(width, kernel=2, stride=2, name=f"down{i}")(x)
            for j, rate in enumerate(rates[i - 1]):
                x = Block(width, rate, self.dtype, name=f"stage{i}_block{j}")(x, train)
            features.append(x)
        return tuple(features)


convnext = functools.partial(ConvNeXt, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768))
CONVNEXTS = {
    "convnext_tiny": functools.partial(ConvNeXt, (3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": functools.partial(ConvNeXt, (3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base": functools.partial(ConvNeXt, (3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext_large": functools.partial(ConvNeXt, (3, 3, 27, 3), (192, 384, 768, 1536)),
}
