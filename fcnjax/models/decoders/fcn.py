"""FCN: scores at several strides, summed."""

from collections.abc import Sequence
from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.layers import (
    BilinearConvTranspose,
    Conv,
    FeatureMap,
    SpatialDropout,
    add,
    crop_or_extend,
    resize_like,
)

UPSAMPLES = MappingProxyType(
    {"bilinear": "interpolation", "transposed": "a transposed convolution, learned"}
)


class FCN(nn.Module):
    """FCN-32s, 16s or 8s (Long et al. 2015, arXiv:1411.4038).

    A 1x1 convolution scores the features at stride 32; the scores are doubled in size and added to
    those at stride 16, and so on down to the stride that gives the model its name.

    Attributes:
        outputs: Number of scores for each pixel.
        final_stride: 32, 16 or 8.
        strides: Of the encoder's features, shallow to deep.
        upsample: A name in `UPSAMPLES`; the transposed convolution starts as bilinear.
        dropout: The probability that a channel of the features is dropped in training.
        dtype: Of the computation.
    """

    outputs: int
    final_stride: int
    strides: tuple[int, ...]
    upsample: str = "bilinear"
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32
    scores = True

    @property
    def needed(self) -> tuple[int, ...]:
        """The strides that are scored, deep to shallow."""
        return tuple(stride for stride in (32, 16, 8) if stride >= self.final_stride)

    @property
    def stride(self) -> int:
        """Stride of the result."""
        return self.final_stride

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Maps the pyramid to scores `[B, h, w, outputs]`, of the size of the shallowest scored."""
        by_stride = dict(zip(self.strides, features, strict=True))
        total = None
        for stride in self.needed:
            x = SpatialDropout(self.dropout)(by_stride[stride], train)
            score = Conv(
                self.outputs,
                kernel=1,
                dtype=self.dtype,
                kernel_init=nn.initializers.lecun_normal(),
                name=f"score{stride}",
            )(x)
            total = score if total is None else add(score, self._upsampled(total, score, stride))
        return total

    def _upsampled(self, x: FeatureMap, like: FeatureMap, stride: int) -> FeatureMap:
        if self.upsample == "bilinear":
            return resize_like(x, like)
        x = BilinearConvTranspose(dtype=self.dtype, name=f"upsample{stride}")(x)
        return crop_or_extend(x, like)


def make_fcn(
    final_stride: int, encoder: nn.Module, outputs: int, names: tuple[str, str], **options
):
    """Builds an `FCN` over `encoder`.

    Args:
        final_stride: 32, 16 or 8.
        encoder: What it decodes.
        outputs: Number of scores for each pixel.
        names: Of the encoder and of this decoder, for messages.
        **options: Other fields of `FCN`.

    Raises:
        UserError: The encoder has no features at a stride that this decoder scores.
    """
    decoder = FCN(outputs, final_stride, tuple(encoder.strides), **options)
    missing = [str(stride) for stride in decoder.needed if stride not in encoder.strides]
    if missing:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it scores "
            f"features at stride {' and '.join(missing)}, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return decoder
