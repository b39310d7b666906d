"""The block of plain vision transformers, over sequences.

A sequence is a map `[B, 1, T, C]` of one row, as `token_map.to_sequence` returns it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.attention import linear_init
from fcnjax.models.layers.convolution.conv import Conv
from fcnjax.models.layers.dropout import DropPath, dropout
from fcnjax.models.layers.feature_map import FeatureMap, add, map_data
from fcnjax.models.layers.norm import LayerNorm, activate
from fcnjax.models.layers.transformer.dot_product import dot_product, split_heads
from fcnjax.models.layers.transformer.rotary import Rotation, rotate


@dataclasses.dataclass(frozen=True)
class BlockOptions:
    """Options that all blocks of a transformer share.

    Attributes:
        heads: Attention heads; they must divide the channels.
        hidden: Channels between the linear layers of the perceptron.
        activation: A name in `ACTIVATIONS`, of the perceptron.
        gated: Whether the perceptron's hidden channels are multiplied by activated ones, as SwiGLU
            (Shazeer 2020, arXiv:2002.05202), instead of being activated.
        biases: Which linear layers have a bias: those of queries, keys and values, that after the
            attention, and those of the perceptron.
        scale: Initial value of the factors of the branches; 0 for no factors.
        epsilon: Of the layer norms.
        attention_dropout: Probability of dropping an attention weight, in training.
        dropout: Probability of dropping a value of a branch, in training.
    """

    heads: int
    hidden: int
    activation: str = "gelu"
    gated: bool = False
    biases: tuple[bool, bool, bool, bool, bool] = (True,) * 5
    scale: float = 1.0
    epsilon: float = 1e-6
    attention_dropout: float = 0.0
    dropout: float = 0.0


class SelfAttention(nn.Module):
    """Self-attention of several heads (Vaswani et al. 2017, arXiv:1706.03762).

    Attributes:
        options: Of the block.
        dtype: Dtype of the computation; parameters and the softmax are float32.
    """

    options: BlockOptions
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: FeatureMap,
        mask: jax.Array | None,
        rotation: Rotation | None,
        train: bool,
        bias: jax.Array | None = None,
    ) -> FeatureMap:
        """Map a sequence `[B, 1, T, C]` to the same shape.

        Args:
            x: The sequence; finite even where it is masked.
            mask: bool `[B, T]`, the entries that are attended to; None for all.
            rotation: Of queries and keys, or None.
            train: Whether attention weights are dropped.
            bias: Added to the scores, `[B or 1, heads, T, T]`, or None.
        """
        *biases, project_bias, _ = self.options.biases
        heads = {}
        for name, use_bias in zip(("query", "key", "value"), biases, strict=True):
            data = self._linear(x.channels, use_bias, name)(x).data
            heads[name] = split_heads(data, self.options.heads)
        if rotation is not None:
            heads |= {name: rotate(heads[name], rotation) for name in ("query", "key")}
        rate = self.options.attention_dropout
        drop = dropout(rate, train) if rate else None
        mask = None if mask is None else mask[:, None, None, None, :]
        bias = None if bias is None else bias[:, None]
        attended = x.replace(data=dot_product(**heads, bias=bias, mask=mask, drop=drop))
        return self._linear(x.channels, project_bias, "project")(attended)

    def _linear(self, features: int, use_bias: bool, name: str) -> Conv:
        options = {"dtype": self.dtype, "kernel_init": linear_init, "name": name}
        return Conv(features, 1, use_bias=use_bias, **options)


class Perceptron(nn.Module):
    """Two linear layers (`expand`, `contract`) with an activation, or a gate, between them.

    Attributes:
        options: Of the block.
        dtype: Dtype of the computation; parameters are float32.
    """

    options: BlockOptions
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        options = {"dtype": self.dtype, "kernel_init": linear_init}
        linear = functools.partial(Conv, kernel=1, use_bias=self.options.biases[-1], **options)
        y = linear(self.options.hidden, name="expand")(x)
        if self.options.gated:
            gate = linear(self.options.hidden, name="gate")(x)
            gate = activate(self.options.activation, gate)
            y = map_data(lambda data: data * gate.data, y)
        else:
            y = activate(self.options.activation, y)
        return linear(x.channels, name="contract")(y)


class LayerScale(nn.Module):
    """Multiply each channel by a learned factor (Touvron et al. 2021, arXiv:2103.17239).

    Attributes:
        initial: Initial value of the factors.
    """

    initial: float

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Map `[B, H, W, C]` to the same shape."""
        gamma = self.param("gamma", nn.initializers.constant(self.initial), (x.channels,))
        return map_data(lambda data: data * gamma.astype(data.dtype), x)


class TransformerBlock(nn.Module):
    """Attention, then a perceptron, each after a layer norm and with a residual connection.

    As in DINOv2 (Oquab et al. 2023, arXiv:2304.07193), factors scale the branches.

    Attributes:
        options: Of all blocks.
        drop_path: Probability of dropping a residual branch, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    options: BlockOptions
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: FeatureMap,
        mask: jax.Array | None,
        rotation: Rotation | None,
        train: bool,
        bias: jax.Array | None = None,
    ) -> FeatureMap:
        """Map a sequence to the same shape; the arguments are those of `SelfAttention`."""
        norm = functools.partial(LayerNorm, self.options.epsilon, self.dtype)
        attend = SelfAttention(self.options, self.dtype, name="attention")
        y = attend(norm(name="norm1")(x), mask, rotation, train, bias)
        x = self._add_branch(x, y, train, "scale1")
        y = Perceptron(self.options, self.dtype, name="mlp")(norm(name="norm2")(x))
        return self._add_branch(x, y, train, "scale2")

    def _add_branch(self, x: FeatureMap, y: FeatureMap, train: bool, name: str) -> FeatureMap:
        if self.options.dropout:
            y = map_data(dropout(self.options.dropout, train), y)
        if self.options.scale:
            y = LayerScale(self.options.scale, name=name)(y)
        return add(x, DropPath(self.drop_path)(y, train))
