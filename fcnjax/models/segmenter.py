"""Encoder, decoder and head, joined."""

import contextlib

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    map_data,
    resize_corners_like,
    resize_like,
    zero_outside,
)
from fcnjax.models.remat import rematerialised


class Segmenter(nn.Module):
    """A model from a normalised image to the logits of each pixel.

    Attributes:
        encoder: Gives the feature pyramid.
        decoder: Turns it into features, or scores, at one stride. It may return a pair: those, and
            by name scores of what lies on its way, to be trained beside them.
        outputs: Logits for each pixel: the classes, or 1 for a sigmoid between two.
        in_channels: Channels of the image.
        dtype: Of the computation; parameters and logits are float32.
        aux_head: A second decoder, which gives scores, to be trained beside the first; or None.
        remat: Whether blocks are computed again for the gradient, in place of keeping their inside.
    """

    encoder: nn.Module
    decoder: nn.Module
    outputs: int
    in_channels: int = 3
    dtype: jnp.dtype = jnp.float32
    aux_head: nn.Module | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool = False, extent: jax.Array | None = None
    ) -> dict:
        """Returns `{"logits": [B, H, W, outputs] float32, "aux": {}}`.

        `aux` holds logits of the same shape: those of an `aux_head` under that name, and those
        that the decoder gives on its way (`side1`, ...). Only training has a use for them.

        Any height and width works, from 1 up. In training, needs the key `dropout` where the
        decoder drops, and updates `batch_stats`.

        Args:
            image: float `[B, H, W, in_channels]`, normalised.
            train: Whether batch norm uses (and updates by) the batch, and dropout drops.
            extent: int32 `[B, 2]`, the true height and width of each example, which lies in the
                upper left of `image`. Inside it the logits are those of the bare image, whatever
                lies outside, where they mean nothing. None: the whole image is true.

        Raises:
            ValueError: Another number of channels, or an extent when batch norm is trained.
        """
        if image.shape[-1] != self.in_channels:
            raise ValueError(
                f"image has {image.shape[-1]} channels, and the model takes {self.in_channels}"
            )
        full = FeatureMap(image.astype(self.dtype), extent)
        # Padding may hold nan: from here on it is finite, for the sake of the gradients.
        full = full.replace(data=zero_outside(full))
        more = {"image": full} if getattr(self.decoder, "takes_image", False) else {}
        with rematerialised() if self.remat and train else contextlib.nullcontext():
            features = self.encoder(full, train)
            x = self.decoder(features, train, **more)
        x, sides = x if isinstance(x, tuple) else (x, {})
        if not self.decoder.scores:
            init = nn.initializers.lecun_normal()
            kernel = getattr(self.decoder, "head_kernel", 1)
            x = Conv(self.outputs, kernel, dtype=self.dtype, kernel_init=init, name="head")(x)
        aux = {name: resize_like(_as_float32(side), full).data for name, side in sides.items()}
        if self.aux_head is not None:
            scores = self.aux_head(features, train)
            aux["aux_head"] = _enlarged(scores, self.aux_head, full).data
        return {"logits": _enlarged(x, self.decoder, full).data, "aux": aux}


def _enlarged(x: FeatureMap, decoder: nn.Module, image: FeatureMap) -> FeatureMap:
    """The scores of `decoder`, at the size of the image, in float32."""
    x = _as_float32(x)
    if decoder.stride == 1:
        return x
    resize = resize_corners_like if getattr(decoder, "align_corners", False) else resize_like
    return resize(x, image)


def _as_float32(x: FeatureMap) -> FeatureMap:
    return map_data(lambda data: data.astype(jnp.float32), x)
