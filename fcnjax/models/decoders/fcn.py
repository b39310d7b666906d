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
    activated,
    add,
    crop_or_pad_like,
    dropout,
    map_data,
    max_pool,
    resize_like,
)

UPSAMPLES = MappingProxyType(
    {"bilinear": "interpolation", "transposed": "a transposed convolution, learned"}
)
VGG_FC_WIDTH, FC_DROPOUT = 4096, 0.5


class FCN(nn.Module):
    """FCN-32s, 16s or 8s (Long et al. 2015, arXiv:1411.4038).

    A 1x1 convolution scores the features at stride 32; the scores are doubled in size and added to
    those at stride 16, and so on down to the stride that gives the model its name.

    The paper's are over VGG. They keep the fully connected layers of its classifier, as
    convolutions `fc6` (7x7) and `fc7` (1x1) at stride 32, and score the poolings `pool4` and
    `pool3` rather than the last convolutions at strides 16 and 8. The paper pads the image by 100
    pixels for the sake of the 7x7, and crops; here that one is padded instead, and sizes stay. The
    last enlargement, the segmenter's, is bilinear in the paper too.

    Attributes:
        outputs: Number of scores for each pixel.
        final_stride: 32, 16 or 8.
        strides: Of the encoder's features, shallow to deep.
        upsample: A name in `UPSAMPLES`; the transposed convolution starts as bilinear.
        fc_width: Channels of `fc6` and `fc7`; 0: there are none.
        pooled: Whether what is scored at strides 16 and 8 is pooled from the features at half the
            stride, of an encoder that pools so.
        dropout: The probability that a value after `fc6` or `fc7` is dropped in training; without
            these, that a channel of the features is.
        dtype: Of the computation.
    """

    outputs: int
    final_stride: int
    strides: tuple[int, ...]
    upsample: str = "bilinear"
    fc_width: int = 0
    pooled: bool = False
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
            if self.pooled and stride < 32:
                x = max_pool(by_stride[stride // 2])
            else:
                x = by_stride[stride]
            x = self._prepared(x, stride, train)
            score = Conv(
                self.outputs,
                kernel=1,
                dtype=self.dtype,
                kernel_init=nn.initializers.lecun_normal(),
                name=f"score{stride}",
            )(x)
            total = score if total is None else add(score, self._upsampled(total, score, stride))
        return total

    def _prepared(self, x: FeatureMap, stride: int, train: bool) -> FeatureMap:
        if not self.fc_width:
            return SpatialDropout(self.dropout)(x, train)
        if stride < 32:
            return x
        for name, kernel in (("fc6", 7), ("fc7", 1)):
            x = Conv(self.fc_width, kernel, dtype=self.dtype, name=name)(x)
            x = activated("relu", x)
            x = map_data(dropout(self.dropout, train), x)
        return x

    def _upsampled(self, x: FeatureMap, like: FeatureMap, stride: int) -> FeatureMap:
        if self.upsample == "bilinear":
            return resize_like(x, like)
        x = BilinearConvTranspose(dtype=self.dtype, name=f"upsample{stride}")(x)
        return crop_or_pad_like(x, like)


def make_fcn(
    final_stride: int,
    encoder: nn.Module,
    outputs: int,
    names: tuple[str, str],
    fc_width: int | None = None,
    dropout: float | None = None,
    **options,
) -> FCN:
    """Builds an `FCN` over `encoder`.

    Args:
        final_stride: 32, 16 or 8.
        encoder: What it decodes.
        outputs: Number of scores for each pixel.
        names: Of the encoder and of this decoder, for messages and for the layers of VGG.
        fc_width: As in `FCN`; None: the paper's 4096 over VGG, else 0.
        dropout: As in `FCN`; None: the paper's 0.5 after fully connected layers, else 0.
        **options: Other fields of `FCN`.

    Raises:
        UserError: The encoder has no features at a stride that this decoder scores.
    """
    of_vgg = names[0].startswith("vgg")
    if fc_width is None:
        fc_width = VGG_FC_WIDTH if of_vgg else 0
    if dropout is None:
        dropout = FC_DROPOUT if fc_width else 0.0
    options |= {"fc_width": fc_width, "dropout": dropout, "pooled": of_vgg}
    decoder = FCN(outputs, final_stride, tuple(encoder.strides), **options)
    missing = [str(stride) for stride in decoder.needed if stride not in encoder.strides]
    if missing:
        raise UserError(
            f"config.model.decoder: {names[1]} cannot decode encoder {names[0]}: it scores "
            f"features at stride {' and '.join(missing)}, and {names[0]} gives strides "
            f"{', '.join(map(str, encoder.strides))}"
        )
    return decoder
