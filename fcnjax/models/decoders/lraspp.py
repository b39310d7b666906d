"""LR-ASPP."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import (
    Conv,
    ConvNormAct,
    FeatureMap,
    add,
    global_mean,
    map_data,
    resize_like,
)

STRIDE = 8


class LRASPP(nn.Module):
    """Lite reduced ASPP (Howard et al. 2019, arXiv:1905.02244), as torchvision.

    The deepest feature, projected and gated by the mean of the whole image, is enlarged to the
    first feature at stride 8. The result is the sum of the scores of the two.

    Attributes:
        outputs: Number of scores for each pixel.
        strides: Of the encoder's features, shallow to deep.
        width: Channels that the deepest feature is projected to.
        norm, activation, dtype: As in `ConvNormAct`.
    """

    outputs: int
    strides: tuple[int, ...]
    width: int = 128
    norm: str = "batch"
    activation: str = "relu"
    dtype: jnp.dtype = jnp.float32
    stride = STRIDE
    scores = True

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to scores `[B, h, w, outputs]`, of the size of the stride 8 feature."""
        low, high = features[self.strides.index(STRIDE)], features[-1]
        block = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
        projected = ConvNormAct(self.width, 1, name="project", **block)(high, train)
        mean = FeatureMap(global_mean(high)[:, None, None])
        gate = Conv(self.width, 1, use_bias=False, dtype=self.dtype, name="gate")(mean)
        weights = nn.sigmoid(gate.data)
        gated = map_data(lambda data: data * weights, projected)
        init = nn.initializers.lecun_normal()
        score = {"kernel_init": init, "dtype": self.dtype}
        high_scores = Conv(self.outputs, 1, name="high_score", **score)(resize_like(gated, low))
        return add(Conv(self.outputs, 1, name="low_score", **score)(low), high_scores)


def make_lraspp(encoder: nn.Module, outputs: int, names: tuple[str, str], **options) -> LRASPP:
    """Builds an `LRASPP` over `encoder`.

    Args:
        encoder: What it decodes.
        outputs: Number of scores for each pixel.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `LRASPP`.

    Raises:
        UserError: The encoder has no feature at stride 8, or none below it.
    """
    if STRIDE not in encoder.strides[:-1]:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it needs a "
            f"feature at stride {STRIDE} and a deeper one, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return LRASPP(outputs, tuple(encoder.strides), **options)
