"""Swin Transformer."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.encoders.stages import StagedEncoder, drop_path_rates
from fcnjax.models.layers import (
    ACTIVATIONS,
    Conv,
    DropPath,
    FeatureMap,
    LayerNorm,
    WindowAttention,
    activate,
    add,
    dropout,
    linear_init,
    map_data,
    merge_patches,
)
from fcnjax.models.layers.tokens.interpolation import resize_grid

NORM_EPSILON = 1e-5


class Block(nn.Module):
    """Attention within windows, then two pointwise layers.

    Both have a residual connection, and a layer norm before them.

    Attributes:
        heads, window, shift, qkv_bias, attention_dropout: As in `WindowAttention`.
        expansion: Channels between the pointwise layers, as a multiple of the others.
        hidden_activation: A name in `ACTIVATIONS`, between them.
        epsilon: Of the layer norms.
        dropout: Probability of dropping a value of a branch's result, in training.
        drop_path: Probability of dropping a residual branch, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    heads: int
    window: int = 7
    shift: int = 0
    qkv_bias: bool = True
    attention_dropout: float = 0.0
    expansion: float = 4.0
    hidden_activation: str = "gelu"
    epsilon: float = NORM_EPSILON
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        norm = functools.partial(LayerNorm, self.epsilon, self.dtype)
        conv = functools.partial(Conv, kernel=1, dtype=self.dtype, kernel_init=linear_init)
        fields = (self.heads, self.window, self.shift, self.qkv_bias, self.attention_dropout)
        attend = WindowAttention(*fields, self.dtype, name="attention")
        x = self._add_branch(x, attend(norm(name="norm1")(x), train), train)
        y = conv(int(self.expansion * x.channels), name="expand")(norm(name="norm2")(x))
        y = conv(x.channels, name="contract")(activate(self.hidden_activation, y))
        return self._add_branch(x, y, train)

    def _add_branch(self, x: FeatureMap, branch: FeatureMap, train: bool) -> FeatureMap:
        branch = map_data(dropout(self.dropout, train), branch)
        return add(x, DropPath(self.drop_path)(branch, train))


class Positions(nn.Module):
    """Add learned embeddings of a grid, resized to each example's as transformers can do.

    Attributes:
        rows, columns: Size of the grid.
    """

    rows: int
    columns: int

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        shape = (1, self.rows * self.columns, x.channels)
        table = self.param("position_embeddings", linear_init, shape)
        grid = table.reshape(self.rows, self.columns, x.channels)
        positions = resize_grid(grid, x, "bicubic")
        return map_data(lambda data: data + positions.astype(data.dtype), x)


class Swin(StagedEncoder):
    """Swin Transformer (Liu et al. 2021, arXiv:2103.14030), as the backbone of transformers.

    The norms are layer norms, which is no option. Windows are shifted in every second block. A map
    smaller than a window is padded to its size.

    Attributes:
        depths, widths, drop_path, dtype: As in `StagedEncoder`; each width is twice the one before
            in the paper.
        heads: Attention heads of each stage.
        patch: Side of the patches that are embedded; 4 in the paper.
        window: Side of the windows.
        expansion: Channels between the pointwise layers, as a multiple of the stage's width.
        hidden_activation: A name in `ACTIVATIONS`, between them.
        qkv_bias: Whether queries, keys and values have a bias.
        epsilon: Of the layer norms of the blocks.
        output_norm: Whether layer norm is applied to each feature.
        position_rows, position_columns: Size of the grid of absolute position embeddings, which are
            resized to the grid of each image; 0 for none, as in the paper.
        hidden_dropout, attention_dropout: Probability of dropping a value after a layer, and of
            dropping an attention weight, in training.
    """

    heads: tuple[int, ...] = (3, 6, 12, 24)
    patch: int = 4
    window: int = 7
    expansion: float = 4.0
    hidden_activation: str = "gelu"
    qkv_bias: bool = True
    epsilon: float = NORM_EPSILON
    output_norm: bool = True
    position_rows: int = 0
    position_columns: int = 0
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0

    def __post_init__(self):
        """Raise ValueError where the sizes do not fit each other."""
        super().__post_init__()
        for width, heads in zip(self.widths, self.heads, strict=True):
            if heads < 1 or width % heads:
                raise ValueError(f"{heads} heads do not divide a width of {width}")
        if self.hidden_activation not in ACTIVATIONS:
            raise ValueError(
                f"hidden_activation is {self.hidden_activation!r}; valid: {', '.join(ACTIVATIONS)}"
            )
        for name in ("patch", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; valid: 1 or more")

    @property
    def strides(self) -> tuple[int, ...]:
        """The side of the patches, doubled for each further stage."""
        return tuple(self.patch * 2**i for i in range(len(self.depths)))

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), width]` for each."""
        norm = functools.partial(LayerNorm, NORM_EPSILON, self.dtype)
        rates = drop_path_rates(self.drop_path, self.depths)
        x = self._embed(x, train)
        features = []
        for i, width in enumerate(self.widths, start=1):
            if i > 1:
                x = norm(name=f"down{i}_norm")(merge_patches(x))
                linear = {"use_bias": False, "dtype": self.dtype, "kernel_init": linear_init}
                x = Conv(width, 1, name=f"down{i}", **linear)(x)
            for j, rate in enumerate(rates[i - 1]):
                shift = self.window // 2 if j % 2 else 0
                fields = (self.heads[i - 1], self.window, shift, *self._block_fields)
                x = Block(*fields, rate, self.dtype, name=f"stage{i}_block{j}")(x, train)
            features.append(norm(name=f"norm{i}")(x) if self.output_norm else x)
        return tuple(features)

    @property
    def _block_fields(self) -> tuple:
        return (
            self.qkv_bias,
            self.attention_dropout,
            self.expansion,
            self.hidden_activation,
            self.epsilon,
            self.hidden_dropout,
        )

    def _embed(self, x: FeatureMap, train: bool) -> FeatureMap:
        """Return the embedded patches; the last ones may be partly filled."""
        options = {"stride": self.patch, "dtype": self.dtype, "kernel_init": linear_init}
        padding = (0, self.patch - 1)
        x = Conv(self.widths[0], self.patch, padding=padding, name="embed", **options)(x)
        x = LayerNorm(NORM_EPSILON, self.dtype, name="embed_norm")(x)
        if self.position_rows:
            x = Positions(self.position_rows, self.position_columns, name="positions")(x)
        return map_data(dropout(self.hidden_dropout, train), x)


swin = functools.partial(Swin, depths=(2, 2, 6, 2), widths=(96, 192, 384, 768))
