"""The light decoder of EoMT: a class and a mask of each query."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Context, Decoder, Fields
from fcnjax.models.layers import (
    ACTIVATIONS,
    Conv,
    ConvTranspose2x,
    FeatureMap,
    LayerNorm,
    TokenMap,
    activate,
    he_normal_fan_in,
    linear_init,
    query_scores,
    resize_like,
)

MOST_UPSCALES = 6


class EoMT(Decoder):
    """The heads of EoMT (Kerssies et al. 2025, arXiv:2503.19108), as transformers.

    A linear layer gives the classes of each query, one of which is none. Its mask is the product of
    the query, through three linear layers, with the patches, enlarged by transposed convolutions.
    The score of a class is the sum over the queries of its probability times the mask's.

    Attributes:
        out_channels: Classes.
        upscales: Times that the patches are enlarged, each time by 2.
        hidden_activation: A name in `ACTIVATIONS`.
        strides, dtype: As in `Decoder`.
    """

    out_channels: int
    upscales: int = 2
    hidden_activation: str = "gelu"
    returns_logits = True
    returns_scores = True
    takes_image = True

    @classmethod
    def fields(cls, context: Context, **options: Any) -> Fields:
        """Check that the encoder has queries, and that there are two or more classes."""
        encoder, decoder = context.names
        if not getattr(context.encoder, "queries", 0):
            raise UserError(
                f"config.model.decoder: {decoder} cannot decode encoder {encoder}: it needs its "
                "queries; valid: encoder eomt_vit"
            )
        if context.out_channels < 2:
            raise UserError(
                f"config.model.head: decoder {decoder} scores each class; valid: softmax"
            )
        activation = options.get("hidden_activation", cls.hidden_activation)
        if activation not in ACTIVATIONS:
            raise UserError(
                f"config.model.decoder_options: hidden_activation is {activation!r}; valid: "
                f"{', '.join(ACTIVATIONS)}"
            )
        if not 0 <= options.get("upscales", cls.upscales) <= MOST_UPSCALES:
            raise UserError(
                f"config.model.decoder_options: upscales is {options['upscales']}; valid: "
                f"0..{MOST_UPSCALES}"
            )
        return options

    @nn.compact
    def __call__(self, features: Sequence[TokenMap], train: bool, image: FeatureMap) -> FeatureMap:
        """Map patches and queries to the scores of each class, `[B, H, W, out_channels]`."""
        del train
        patches = features[-1]
        queries = FeatureMap(patches.tokens[:, None])
        linear = functools.partial(Conv, kernel=1, dtype=self.dtype, kernel_init=linear_init)
        classes = linear(self.out_channels + 1, name="classes")(queries).data[:, 0]
        classes = classes.astype(jnp.float32)
        for i in range(3):
            queries = linear(patches.channels, name=f"mask{i}")(queries)
            queries = activate(self.hidden_activation if i < 2 else None, queries)
        pixels = self._enlarge(FeatureMap(patches.data, patches.extent))
        masks = pixels.replace(data=_products(pixels.data, queries.data[:, 0]))
        self.sow("intermediates", "class_queries", classes)
        self.sow("intermediates", "mask_queries", masks.data.transpose(0, 3, 1, 2))
        masks = resize_like(self._without_padding(masks, image), image)
        return query_scores(masks, classes)

    def _enlarge(self, x: FeatureMap) -> FeatureMap:
        for i in range(self.upscales):
            x = ConvTranspose2x(x.channels, self.dtype, name=f"upscale{i}")(x)
            x = activate(self.hidden_activation, x)
            options = {"use_bias": False, "dtype": self.dtype, "kernel_init": he_normal_fan_in}
            x = Conv(x.channels, 3, groups=x.channels, name=f"smooth{i}", **options)(x)
            x = LayerNorm(1e-6, self.dtype, name=f"norm{i}")(x)
        return x

    def _without_padding(self, masks: FeatureMap, image: FeatureMap) -> FeatureMap:
        """Crop what a partial last patch has beyond the image."""
        factor, stride = 2**self.upscales, self.strides[-1]
        height, width = (
            jax.core.min_dim(side, -(-size * factor // stride))
            for side, size in zip(masks.size, image.size, strict=True)
        )
        extent = masks.extent
        if extent is not None:
            extent = jnp.minimum(extent, -(-image.extent * factor // stride))
        return FeatureMap(masks.data[:, :height, :width], extent)


def _products(pixels: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return the products of pixels `[B, H, W, C]` with vectors `[B, N, C]`: `[B, H, W, N]`."""
    options = {"preferred_element_type": jnp.float32}
    return jnp.einsum("bhwc,bnc->bhwn", pixels, vectors, **options)
