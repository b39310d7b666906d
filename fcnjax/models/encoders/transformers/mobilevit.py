"""MobileViT: a mobile network whose deeper stages have attention."""

from collections.abc import Iterator

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.encoders.inverted import (
    Block,
    InvertedResidual,
    MobileModule,
    round_channels,
)
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    LayerNorm,
    PatchAttention,
    activate,
    add,
    concat,
    dropout,
    linear_init,
    map_data,
    resize_like,
    round_up_map,
)


class MobileViTBase(MobileModule, kw_only=True):
    """Base of MobileViTs: a stem and five stages at strides 2, 4, 8, 16 and 32.

    The first two stages are inverted residuals. The other three are one inverted residual, and
    layers that subclasses define.

    Attributes:
        expansion: Channels of the depthwise convolutions, as a multiple of the block's input.
        kernel: Side of the convolutions before and after the attention.
        patch: Side of the patches of the attention.
        block_activation: A name in `ACTIVATIONS`, of all convolutions.
        output_stride: 32, or 16 or 8: deeper stages are dilated instead of strided.
        layer_norm_epsilon: Of the norms of the transformers.
        norm, epsilon, dtype: As in `ConvNormAct`.
    """

    expansion: float = 4.0
    kernel: int = 3
    patch: int = 2
    block_activation: str = "silu"
    output_stride: int = 32
    layer_norm_epsilon: float = 1e-5
    # Inverted residuals of the first two stages.
    mobile_depths = (1, 3)

    @property
    def strides(self) -> tuple[int, ...]:
        """2, 4, 8, 16, 32; none above the output stride."""
        return tuple(min(stride, self.output_stride) for stride in (2, 4, 8, 16, 32))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return self.all_widths[1:]

    @property
    def all_widths(self) -> tuple[int, ...]:
        """Channels of the stem and of each stage."""
        raise NotImplementedError

    def global_block(self, index: int, x: FeatureMap, train: bool) -> FeatureMap:
        """Apply the layers of an attention stage after its inverted residual.

        Args:
            index: 0, 1 or 2, of the stages at strides 8, 16 and 32.
            x: `[B, H, W, C]`.
            train: Whether this is training.

        Returns:
            A map of the same shape.
        """
        raise NotImplementedError

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), channels]` for each."""
        stem, *widths = self.all_widths
        x = self.block_conv(stem, "stem", stride=2)(x, train)
        features = []
        for i, (width, shapes) in enumerate(zip(widths, self._stages(), strict=True), start=1):
            for j, (stride, dilation) in enumerate(shapes):
                x = self._inverted(x, width, stride, dilation, f"stage{i}_block{j}")(x, train)
            if i > len(self.mobile_depths):
                x = self.global_block(i - 1 - len(self.mobile_depths), x, train)
            features.append(x)
        return tuple(features)

    def block_conv(self, features: int, name: str, **options) -> nn.Module:
        """Return a convolution with a norm and this network's activation."""
        return self.conv(features, name, **{"activation": self.block_activation, **options})

    def _stages(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the stride and the dilation of the inverted residuals of each stage."""
        first, second = self.mobile_depths
        yield [(1, 1)] * first
        yield [(2, 1)] + [(1, 1)] * (second - 1)
        dilation = 1
        for stride in (8, 16, 32):
            is_dilated = stride > self.output_stride
            yield [(1 if is_dilated else 2, dilation)]
            # The larger dilation begins with the next stage.
            dilation *= 2 if is_dilated else 1

    def _inverted(
        self, x: FeatureMap, width: int, stride: int, dilation: int, name: str
    ) -> InvertedResidual:
        hidden = round_channels(round(x.channels * self.expansion))
        residual = stride == 1 and width == x.channels
        block = Block(3, hidden, width, stride, expand=True, residual=residual)
        options = {"activation": self.block_activation, "norm": self.norm, "dtype": self.dtype}
        options |= {"stride": stride, "dilation": dilation, "epsilon": self.epsilon}
        return InvertedResidual(block, name=name, **options)


class TransformerLayer(nn.Module):
    """Attention, then two pointwise layers; both have a residual connection and a norm before them.

    Attributes:
        heads, patch, use_bias, attention_dropout: As in `PatchAttention`.
        hidden: Channels between the pointwise layers.
        activation: A name in `ACTIVATIONS`, between them.
        dropout: Probability of dropping a value of a residual branch, in training.
        epsilon: Of the layer norms.
        dtype: Dtype of the computation; parameters are float32.
    """

    heads: int
    hidden: int
    patch: int = 2
    use_bias: bool = True
    activation: str = "silu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        options = (self.heads, self.patch, self.use_bias, self.attention_dropout, self.dtype)
        y = LayerNorm(self.epsilon, self.dtype, name="norm1")(x)
        y = PatchAttention(*options, name="attention")(y, train)
        x = add(x, map_data(dropout(self.dropout, train), y))
        linear = {"kernel": 1, "kernel_init": linear_init, "dtype": self.dtype}
        y = LayerNorm(self.epsilon, self.dtype, name="norm2")(x)
        y = activate(self.activation, Conv(self.hidden, name="expand", **linear)(y))
        y = Conv(x.channels, name="contract", **linear)(y)
        return add(x, map_data(dropout(self.dropout, train), y))


class MobileViT(MobileViTBase):
    """MobileViT (Mehta and Rastegari 2022, arXiv:2110.02178), as transformers.

    Where the patches do not divide an image's feature map, the transformer sees it enlarged to
    whole patches.

    Attributes:
        widths: Channels of the stem and of each stage.
        transformer_widths: Channels of the transformers of the last three stages.
        depths: Layers of these transformers.
        heads: Their attention heads.
        mlp_expansion: Channels between their pointwise layers, as a multiple of the others.
        use_qkv_bias: Whether queries, keys and values have a bias.
        hidden_dropout: Probability of dropping a value of a residual branch, in training.
        attention_dropout: Probability of dropping an attention weight, in training.
        expansion, kernel, patch, block_activation: As in `MobileViTBase`.
        output_stride, layer_norm_epsilon: As in `MobileViTBase`.
        norm, epsilon, dtype: As in `ConvNormAct`.
    """

    widths: tuple[int, ...] = (16, 32, 64, 96, 128, 160)
    transformer_widths: tuple[int, ...] = (144, 192, 240)
    depths: tuple[int, ...] = (2, 4, 3)
    heads: int = 4
    mlp_expansion: float = 2.0
    use_qkv_bias: bool = True
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.0

    def __post_init__(self):
        """Raise ValueError where a list has another length, or the heads do not fit."""
        check_lengths({"widths": 6, "transformer_widths": 3, "depths": 3}, self)
        for width in self.transformer_widths:
            if width % self.heads:
                raise ValueError(f"heads is {self.heads}, which does not divide {width} channels")
        super().__post_init__()

    @property
    def all_widths(self) -> tuple[int, ...]:
        """Channels of the stem and of each stage."""
        return self.widths

    def global_block(self, index: int, x: FeatureMap, train: bool) -> FeatureMap:
        """Apply convolutions, a transformer over the map, and a convolution that joins both."""
        name = f"stage{index + 3}"
        width = self.transformer_widths[index]
        y = self.block_conv(x.channels, f"{name}_local", kernel=self.kernel)(x, train)
        y = Conv(width, 1, use_bias=False, dtype=self.dtype, name=f"{name}_embed")(y)
        patches = resize_like(y, round_up_map(y, self.patch))
        layer = {"heads": self.heads, "hidden": int(width * self.mlp_expansion)}
        layer |= {"patch": self.patch, "use_bias": self.use_qkv_bias}
        layer |= {"activation": self.block_activation, "dropout": self.hidden_dropout}
        layer |= {"attention_dropout": self.attention_dropout, "dtype": self.dtype}
        layer["epsilon"] = self.layer_norm_epsilon
        for j in range(self.depths[index]):
            patches = TransformerLayer(name=f"{name}_layer{j}", **layer)(patches, train)
        norm = LayerNorm(self.layer_norm_epsilon, self.dtype, name=f"{name}_norm")
        y = resize_like(norm(patches), y)
        y = self.block_conv(x.channels, f"{name}_project", kernel=1)(y, train)
        return self.block_conv(x.channels, f"{name}_fuse", kernel=self.kernel)(
            concat([x, y]), train
        )


def check_lengths(lengths: dict[str, int], module: nn.Module) -> None:
    """Raise ValueError where a field of a module has another number of entries."""
    for name, length in lengths.items():
        if len(getattr(module, name)) != length:
            raise ValueError(f"{name} has {len(getattr(module, name))} entries; valid: {length}")
