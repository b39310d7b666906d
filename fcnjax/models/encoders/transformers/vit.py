"""Plain vision transformers, whose features all have the stride of a patch."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcnjax.models.layers import FeatureMap, dropout, map_data
from fcnjax.models.layers.norm import ACTIVATIONS
from fcnjax.models.layers.tokens.interpolation import WEIGHTS
from fcnjax.models.layers.tokens.patch_embedding import PatchEmbedding
from fcnjax.models.layers.tokens.token_map import (
    TokenMap,
    from_sequence,
    sequence_mask,
    to_sequence,
)
from fcnjax.models.layers.transformer.vit_block import BlockOptions, TransformerBlock


class PlainTransformer(nn.Module):
    """Base of encoders made of transformer blocks over the patches of an image.

    Blocks after the last state that is used are left out.

    Attributes:
        patch: Side of a patch. A last, partial patch of an image is dropped.
        width: Channels.
        depth: Blocks.
        heads: Attention heads; they must divide the width.
        hidden: Channels between the linear layers of a block's perceptron.
        states: The states that are returned, by the number of blocks before them.
        positions: Side of the grid of position embeddings, in patches; 0 for none.
        position_rule: How they are interpolated to other grids: `bilinear` or `bicubic`.
        hidden_activation, epsilon, attention_dropout: As in `BlockOptions`.
        dropout: Probability of dropping a value of a branch or of the embedded patches, in
            training.
        drop_path: Probability of dropping a branch of block `depth`, in training; it rises linearly
            from 0 at the first block.
        dtype: Dtype of the computation; parameters are float32.
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    states: tuple[int, ...] = (3, 6, 9, 12)
    positions: int = 24
    position_rule: str = "bicubic"
    hidden_activation: str = "gelu"
    epsilon: float = 1e-6
    attention_dropout: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def __post_init__(self):
        """Raise ValueError where options do not fit each other."""
        for name in ("patch", "width", "depth", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}, which does not divide width {self.width}")
        if not self.states or not all(0 <= state <= self.depth for state in self.states):
            raise ValueError(f"states is {self.states}; valid: numbers in 0..{self.depth}")
        if self.positions < 0:
            raise ValueError(f"positions is {self.positions}; it must be 0 or more")
        if self.position_rule not in WEIGHTS:
            raise ValueError(f"position_rule is none of {', '.join(WEIGHTS)}")
        if self.hidden_activation not in ACTIVATIONS:
            raise ValueError(f"hidden_activation is none of {', '.join(ACTIVATIONS)}")
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """The side of a patch, for each state."""
        return (self.patch,) * len(self.states)

    @property
    def channels(self) -> tuple[int, ...]:
        """The width, for each state."""
        return (self.width,) * len(self.states)

    def encode(self, x: FeatureMap, train: bool, options: BlockOptions) -> tuple[TokenMap, ...]:
        """Return the states of an image `[B, H, W, C]`, each `[B, h, w, width]`.

        Args:
            x: The image.
            train: Whether dropout is on.
            options: Of the blocks.
        """
        fields = (self.width, self.patch, self.positions, self.position_rule, self.dtype)
        patches = PatchEmbedding(*fields, name="embed")(x)
        sequence = to_sequence(patches)
        if self.dropout:
            sequence = map_data(dropout(self.dropout, train), sequence)
        mask = sequence_mask(patches, 1)
        sequences = [sequence]
        rates = np.linspace(0, self.drop_path, self.depth).tolist()
        biases = self.position_biases(patches)
        for i in range(max(self.states)):
            block = TransformerBlock(options, rates[i], self.dtype, name=f"block{i}")
            sequences.append(block(sequences[-1], mask, None, train, next(biases)))
        return tuple(from_sequence(sequences[state], patches) for state in self.states)

    def position_biases(self, patches: FeatureMap) -> Iterator[jax.Array | None]:
        """Yield what each block adds to the scores of its attention, `[B or 1, heads, T, T]`."""
        del patches
        while True:
            yield None

    def block_options(self, **changes) -> BlockOptions:
        """Return the options of the blocks that the fields give, and more."""
        return BlockOptions(
            heads=self.heads,
            hidden=self.hidden,
            activation=self.hidden_activation,
            epsilon=self.epsilon,
            attention_dropout=self.attention_dropout,
            dropout=self.dropout,
            **changes,
        )


class ViT(PlainTransformer):
    """Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), as DPT of transformers.

    The features are not normalised. Each has the class token of its state (`tokens`).

    Attributes:
        qkv_bias: Whether queries, keys and values have a bias.
        (more): Those of `PlainTransformer`.
    """

    qkv_bias: bool = True

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[TokenMap, ...]:
        """Map `[B, H, W, C]` to `[B, max(H // patch, 1), max(W // patch, 1), width]` each."""
        biases = (*(self.qkv_bias,) * 3, True, True)
        return self.encode(x, train, self.block_options(scale=0.0, biases=biases))
