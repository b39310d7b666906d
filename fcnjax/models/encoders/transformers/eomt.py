"""The vision transformer of EoMT, into whose last blocks the queries of masks are inserted."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import (
    ACTIVATIONS,
    BlockOptions,
    Conv,
    FeatureMap,
    LayerNorm,
    LearnedPositions,
    LearnedTokens,
    Rotation,
    TokenMap,
    TransformerBlock,
    augment_coordinates,
    axial_rotation,
    dropout,
    from_sequence,
    grid_coordinates,
    lecun_normal,
    map_data,
    pass_tokens,
    prepend_tokens,
    sequence_mask,
    to_sequence,
)

POSITIONS = ("rotary", "learned")


class EoMTEncoder(nn.Module):
    """A DINOv2 or DINOv3 with queries (Kerssies et al. 2025, arXiv:2503.19108), as transformers.

    It has no mask of the attention, which the paper anneals to none by the end of the training.

    Attributes:
        patch: Side of a patch, which is the stride.
        width: Channels.
        depth: Blocks.
        heads: Attention heads; they must divide the width.
        hidden: Channels between the linear layers of a block's perceptron.
        queries: Number of queries.
        query_blocks: The last blocks, which see the queries.
        registers: Register tokens (Darcet et al. 2023, arXiv:2309.16588).
        positions: `rotary` as DINOv3 or `learned` as DINOv2.
        grid: Side of the grid of learned positions, in patches.
        rotary_base: The base of rotary positions.
        position_shift, position_jitter, position_rescale: Their changes in training, as
            `augment_coordinates` takes them.
        drop_partial: Whether pixels after the last entire patch are dropped; else they are padded.
        hidden_activation, gated, layer_scale, epsilon, attention_dropout: As in `BlockOptions`.
        query_bias, key_bias, value_bias, project_bias, mlp_bias: Its `biases`.
        dropout: Probability of dropping a value of the embedded patches, in training.
        drop_path: Probability of dropping a residual branch of any block, in training.
        dtype: Dtype of the computation; parameters are float32.
    """

    patch: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    hidden: int = 1536
    queries: int = 100
    query_blocks: int = 3
    registers: int = 4
    positions: str = "rotary"
    grid: int = 32
    rotary_base: float = 100.0
    position_shift: float = 0.0
    position_jitter: float = 1.0
    position_rescale: float = 1.0
    drop_partial: bool = False
    hidden_activation: str = "gelu"
    gated: bool = False
    layer_scale: float = 1.0
    epsilon: float = 1e-6
    attention_dropout: float = 0.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    project_bias: bool = True
    mlp_bias: bool = True
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def __post_init__(self):
        """Raise ValueError where options do not fit each other."""
        for name in ("patch", "width", "depth", "heads", "hidden", "queries", "grid"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}, which does not divide width {self.width}")
        if not 0 < self.query_blocks <= self.depth:
            raise ValueError(f"query_blocks is {self.query_blocks}; valid: 1..{self.depth}")
        if self.registers < 0:
            raise ValueError(f"registers is {self.registers}; it must be 0 or more")
        if self.hidden_activation not in ACTIVATIONS:
            raise ValueError(f"hidden_activation is none of {', '.join(ACTIVATIONS)}")
        if self.positions not in POSITIONS:
            raise ValueError(f"positions is none of {', '.join(POSITIONS)}")
        if self.positions == "rotary" and self.width // self.heads % 4:
            raise ValueError(f"width / heads is {self.width // self.heads}, not a multiple of 4")
        if self.rotary_base <= 0 or min(self.position_jitter, self.position_rescale) < 1:
            raise ValueError("rotary_base must be positive, and jitter and rescale 1 or more")
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """The side of a patch."""
        return (self.patch,)

    @property
    def channels(self) -> tuple[int, ...]:
        """The width."""
        return (self.width,)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[TokenMap, ...]:
        """Map `[B, H, W, C]` to `[B, ceil(H / patch), ceil(W / patch), width]` and the queries."""
        grid = self._embed(x)
        init = nn.initializers.truncated_normal(0.02)
        tokens = self.param("class_token", init, (1, self.width))
        if self.registers:
            shape = (self.registers, self.width)
            registers = self.param("register_tokens", nn.initializers.zeros, shape)
            tokens = jnp.concatenate([tokens, registers])
        tokens = jnp.broadcast_to(tokens, (grid.data.shape[0], *tokens.shape))
        sequence = to_sequence(TokenMap(grid.data, grid.extent, tokens=tokens))
        sequence = map_data(dropout(self.dropout, train), sequence)
        rotation = self._rotation(grid, train)
        block = functools.partial(TransformerBlock, self._options, self.drop_path, self.dtype)
        for i in range(self.depth):
            if i == self.depth - self.query_blocks:
                queries = LearnedTokens(self.queries, self.width, 1.0, name="query")()
                sequence = prepend_tokens(queries, sequence)
            if i in (0, self.depth - self.query_blocks):
                count = sequence.size[1] - grid.size[0] * grid.size[1]
                mask = sequence_mask(grid, count)
                turn = None if rotation is None else pass_tokens(rotation, count)
            sequence = block(name=f"block{i}")(sequence, mask, turn, train)
        y = LayerNorm(self.epsilon, self.dtype, name="norm")(sequence)
        y = from_sequence(y, grid)
        return (y.replace(tokens=y.tokens[:, : self.queries]),)

    @property
    def _options(self) -> BlockOptions:
        biases = (self.query_bias, self.key_bias, self.value_bias, self.project_bias, self.mlp_bias)
        return BlockOptions(
            self.heads,
            self.hidden,
            self.hidden_activation,
            self.gated,
            biases,
            self.layer_scale,
            self.epsilon,
            self.attention_dropout,
        )

    def _embed(self, x: FeatureMap) -> FeatureMap:
        """Return the embedded patches, with their learned positions."""
        # As many zeros as complete the last patch; a full one does not reach them.
        padding = 0 if self.drop_partial else (0, self.patch - 1)
        options = {"padding": padding, "dtype": self.dtype, "kernel_init": lecun_normal}
        grid = Conv(self.width, self.patch, self.patch, name="embed", **options)(x)
        if self.positions == "learned":
            grid = LearnedPositions(self.grid, name="position_table")(grid)
        return grid

    def _rotation(self, grid: FeatureMap, train: bool) -> Rotation | None:
        if self.positions != "rotary":
            return None
        coordinates = grid_coordinates(grid)
        changes = (self.position_shift, self.position_jitter, self.position_rescale)
        if train and changes != (0, 1, 1):
            coordinates = augment_coordinates(self.make_rng("dropout"), coordinates, *changes)
        return axial_rotation(coordinates, self.width // self.heads, self.rotary_base)
