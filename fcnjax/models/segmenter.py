"""The segmentation model: encoder, decoder and head."""

import contextlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.decoders.decoder import Decoder
from fcnjax.models.layers import (
    Conv,
    FeatureMap,
    lecun_normal,
    map_data,
    resize_and_reduce,
    resize_corners_like,
    resize_like,
    zero_outside,
)
from fcnjax.models.remat import rematerialised


class Segmenter(nn.Module):
    """A model from a normalised image to the logits of each pixel.

    Attributes:
        encoder: Returns the feature pyramid.
        decoder: Maps the pyramid to features, or logits, at one stride. It may return a pair: those
            and a dictionary of auxiliary logits, for deep supervision.
        out_channels: Logits for each pixel: one for each class, or 1 for a sigmoid of two classes.
        in_channels: Channels of the image.
        dtype: Dtype of the computation; parameters and logits are float32.
        aux_head: A second decoder, which returns auxiliary logits; or None.
        remat: Whether blocks are recomputed for the gradient, instead of keeping their activations.
    """

    encoder: nn.Module
    decoder: Decoder
    out_channels: int
    in_channels: int = 3
    dtype: jnp.dtype = jnp.float32
    aux_head: Decoder | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        image: jax.Array,
        *,
        train: bool = False,
        extent: jax.Array | None = None,
        like: FeatureMap | None = None,
        reduce: Callable[[jax.Array], jax.Array] | None = None,
    ) -> dict:
        """Return `{"logits": [B, H, W, out_channels] float32, "aux": {}}`.

        `aux` holds auxiliary logits of the same shape, used only in training: `aux_head`, and those
        of a decoder with deep supervision (`side1`, ...).

        Any height and width from 1 up is valid. Training needs the key `dropout` if the decoder has
        dropout, and updates `batch_stats`.

        Args:
            image: float `[B, H, W, in_channels]`, normalised.
            train: Whether batch norm uses and updates the batch's statistics, and dropout is on.
            extent: int32 `[B, 2]`, the height and width of each example's valid region, in the
                upper left of `image`. Within it the logits are those of the bare image; outside it
                they are meaningless. None: the whole image is valid.
            like: A map of the size and extent that the logits are resized to; None for those of the
                image.
            reduce: Function of logits `[..., out_channels]` that returns `[...]`, such as argmax.
                The result has `reduced`, `[B, H, W]`, instead of `logits`, which of a large image
                never exist as a whole.

        Raises:
            ValueError: Another number of channels, or an extent when batch norm is trained.
        """
        if image.shape[-1] != self.in_channels:
            raise ValueError(
                f"image has {image.shape[-1]} channels, and the model takes {self.in_channels}"
            )
        x = FeatureMap(image.astype(self.dtype), extent)
        # Padding may hold nan, which would reach the gradients.
        x = x.replace(data=zero_outside(x))
        image_input = {"image": x} if self.decoder.takes_image else {}
        with rematerialised() if self.remat and train else contextlib.nullcontext():
            features = self.encoder(x, train)
            decoded = self.decoder(features, train, **image_input)
        y, side_logits = decoded if isinstance(decoded, tuple) else (decoded, {})
        if not self.decoder.returns_logits:
            options = {"dtype": self.dtype, "kernel_init": lecun_normal, "name": "head"}
            y = Conv(self.out_channels, self.decoder.head_kernel, **options)(y)
        aux = {name: resize_like(_to_float32(side), x).data for name, side in side_logits.items()}
        if self.aux_head is not None:
            aux["aux_head"] = _resize_logits(self.aux_head(features, train), self.aux_head, x).data
        name = "logits" if reduce is None else "reduced"
        return {name: self._finish(_to_float32(y), x, like, reduce), "aux": aux}

    def _finish(
        self,
        y: FeatureMap,
        image: FeatureMap,
        like: FeatureMap | None,
        reduce: Callable[[jax.Array], jax.Array] | None,
    ) -> jax.Array:
        """Return the logits of each pixel, or what `reduce` makes of them, from a decoder's map."""
        decoder = self.decoder
        to_logits = _log_scores if decoder.returns_scores else lambda data: data
        if like is not None and not decoder.resized_once:
            # To the size at which the model sees the image, and then to that of `like`.
            y = _resize_logits(y, decoder, image)
        if reduce is None:
            y = _resize_logits(y, decoder, image) if like is None else resize_like(y, like)
            return to_logits(y.data)
        if like is None and _has_size_of_image(decoder):
            return reduce(to_logits(y.data))
        align_corners = like is None and decoder.align_corners
        target = image if like is None else like
        return resize_and_reduce(y, target, lambda data: reduce(to_logits(data)), align_corners)


def _log_scores(scores: jax.Array) -> jax.Array:
    """Return the logits whose softmax is the share of each class in the scores."""
    return jnp.log(jnp.maximum(scores, jnp.finfo(scores.dtype).tiny))


def _has_size_of_image(decoder: Decoder) -> bool:
    return decoder.stride == 1 and not decoder.resized_once


def _resize_logits(x: FeatureMap, decoder: Decoder, image: FeatureMap) -> FeatureMap:
    """Return the logits of `decoder` at the size of the image, in float32."""
    x = _to_float32(x)
    if _has_size_of_image(decoder):
        return x
    resize = resize_corners_like if decoder.align_corners else resize_like
    return resize(x, image)


def _to_float32(x: FeatureMap) -> FeatureMap:
    return map_data(lambda data: data.astype(jnp.float32), x)
