"""BEiT and Data2Vec, with the pyramid that makes them encoders of segmentation models."""

import functools
from collections.abc import Iterator

import jax
from flax import linen as nn

from fcnjax.models.encoders.transformers.vit import PlainTransformer
from fcnjax.models.layers import NORMS, ConvTranspose2x, FeatureMap, max_pool
from fcnjax.models.layers.transformer.relative_position import RelativePositionBias

LEVELS = 4


class BEiT(PlainTransformer):
    """BEiT (Bao et al. 2021, arXiv:2106.08254) and its pyramid, as transformers.

    Transposed convolutions enlarge the first two states by 4 and 2 (`up1`, `up2`), and max pooling
    halves the last, so that the features of 16 x 16 patches have strides 4, 8, 16 and 32. Data2Vec
    (Baevski et al. 2022, arXiv:2202.03555) is the same for images.

    Attributes:
        window: Rows and columns of patches that the tables of relative positions are made for.
        relative_bias: Whether each block has a relative position bias.
        shared_bias: Whether all blocks share one; there may be both.
        layer_scale: Initial value of the factors of the branches; 0 for no factors.
        norm: A name in `NORMS`, between the transposed convolutions of `up1`.
        (more): Those of `PlainTransformer`.
    """

    states: tuple[int, ...] = (2, 4, 6, 10)
    positions: int = 0
    epsilon: float = 1e-12
    window: tuple[int, ...] = (14, 14)
    relative_bias: bool = True
    shared_bias: bool = False
    layer_scale: float = 0.1
    norm: str = "batch"

    def __post_init__(self):
        """Raise ValueError where options do not fit each other."""
        if len(self.states) != LEVELS:
            raise ValueError(f"states has {len(self.states)} entries; it must have {LEVELS}")
        if len(self.window) != 2 or min(self.window) < 1:
            raise ValueError(f"window is {self.window}; valid: two numbers of 1 or more")
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """A quarter and a half of the side of a patch, the side, and its double."""
        return (max(self.patch // 4, 1), max(self.patch // 2, 1), self.patch, 2 * self.patch)

    @nn.compact
    def __call__(self, x: FeatureMap, train: bool) -> tuple[FeatureMap, ...]:
        """Map `[B, H, W, C]` to four features, of 4, 2, 1 and half as many pixels as patches."""
        biases = (True, False, True, True, True)
        options = self.block_options(scale=self.layer_scale, biases=biases)
        first, second, third, last = self.encode(x, train, options)
        enlarge = functools.partial(ConvTranspose2x, self.width, self.dtype)
        first = enlarge(name="up1")(first)
        norm = NORMS[self.norm](dtype=self.dtype, activation="gelu", name="up1_norm")
        first = enlarge(name="up1_next")(norm(first, train))
        third = FeatureMap(third.data, third.extent)
        return first, enlarge(name="up2")(second), third, max_pool(last)

    def position_biases(self, patches: FeatureMap) -> Iterator[jax.Array | None]:
        """Yield what each block adds to the scores of its attention, `[B or 1, heads, T, T]`."""
        make = functools.partial(RelativePositionBias, self.window, self.heads, self.dtype)
        shared = make(name="position_bias")(patches) if self.shared_bias else None
        for i in range(self.depth):
            bias = make(name=f"block{i}_position_bias")(patches) if self.relative_bias else None
            yield bias if shared is None else shared if bias is None else shared + bias
