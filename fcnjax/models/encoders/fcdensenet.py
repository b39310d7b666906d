"""The path down of FC-DenseNet."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import NORMS, Conv, FeatureMap, concat, dropout, map_data, max_pool

STEM_WIDTH = 48
DROPOUT = 0.2


class NormActConv(nn.Module):
    """Normalisation (`norm`), activation, convolution (`conv`), dropout.

    Attributes:
        features: Output channels.
        kernel: Side of the kernel.
        dropout: The probability that a value of the result is dropped in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    features: int
    kernel: int = 3
    dropout: float = DROPOUT
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to `[B, H, W, features]`."""
        norm = NORMS[self.norm](dtype=self.dtype, activation=self.activation, name="norm")
        x = norm(x, train)
        # With a bias, as the authors' code: not every reader of the result normalises it first.
        x = Conv(self.features, self.kernel, dtype=self.dtype, name="conv")(x)
        return map_data(dropout(self.dropout, train), x)


class DenseBlock(nn.Module):
    """Layers of which each sees the input and what all before it gave.

    Attributes:
        depth: Number of layers.
        growth: Channels that each gives.
        dropout, norm, activation, dtype: As in `NormActConv`.
    """

    depth: int
    growth: int
    dropout: float = DROPOUT
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Maps `[B, H, W, C]` to what is new, `[B, H, W, depth * growth]`."""
        new = []
        for i in range(1, self.depth + 1):
            layer = NormActConv(
                self.growth,
                dropout=self.dropout,
                norm=self.norm,
                activation=self.activation,
                dtype=self.dtype,
                name=f"layer{i}",
            )
            new.append(layer(concat([x, *new]), train))
        return concat(new)


class FCDenseNet(nn.Module):
    """The path down of FC-DenseNet (Jegou et al. 2017, arXiv:1611.09326) and its bottleneck.

    Features are what each dense block was given and what it added, before the pooling, and last
    only what the bottleneck added: the paper takes no more of it up again. None is normalised or
    activated: whatever reads them does that first. Pooling rounds sizes down, but never to zero.

    Attributes:
        depths: Layers of each dense block, the bottleneck last.
        growth: Channels that a layer adds.
        dropout: The probability that a value is dropped after each convolution in training.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    depths: tuple[int, ...]
    growth: int = 16
    dropout: float = DROPOUT
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32

    @property
    def strides(self) -> tuple[int, ...]:
        """1, 2, 4, 8, 16, 32."""
        return tuple(2**i for i in range(len(self.depths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """Growing block by block; of the last feature, those that the bottleneck adds."""
        *depths, last = self.depths
        widths = [STEM_WIDTH + self.growth * sum(depths[: i + 1]) for i in range(len(depths))]
        return (*widths, self.growth * last)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Maps `[B, H, W, C]` to `[B, max(H // stride, 1), max(W // stride, 1), channels]` each."""
        common = {
            "dropout": self.dropout,
            "norm": self.norm,
            "activation": self.activation,
            "dtype": self.dtype,
        }
        *depths, last = self.depths
        x = Conv(STEM_WIDTH, dtype=self.dtype, name="stem")(x)
        features = []
        for i, depth in enumerate(depths, start=1):
            new = DenseBlock(depth, self.growth, name=f"block{i}", **common)(x, train)
            x = concat([x, new])
            features.append(x)
            x = max_pool(NormActConv(x.channels, 1, name=f"down{i}", **common)(x, train))
        bottleneck = DenseBlock(last, self.growth, name="bottleneck", **common)
        return (*features, bottleneck(x, train))


FCDenseNet56 = functools.partial(FCDenseNet, (4, 4, 4, 4, 4, 4), 12)
FCDenseNet67 = functools.partial(FCDenseNet, (5, 5, 5, 5, 5, 5), 16)
FCDenseNet103 = functools.partial(FCDenseNet, (4, 5, 7, 10, 12, 15), 16)
