"""Mask2Former: queries that each predict a class and a mask."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from fcnjax.errors import UserError
from fcnjax.models.decoders.decoder import Context, Decoder, Fields, check_positive
from fcnjax.models.decoders.pixel_decoder import LEVELS, PixelDecoder
from fcnjax.models.decoders.query_decoder import QueryDecoder
from fcnjax.models.layers import ACTIVATIONS, FeatureMap, query_scores, resize_like

_COUNTS = ("queries", "depth", "hidden", "pixel_depth", "pixel_hidden", "points", "mask_width")
_COUNTS += ("score_size",)


class Mask2Former(Decoder):
    """Mask2Former (Cheng et al. 2021, arXiv:2112.01527), as transformers.

    A pixel decoder with deformable attention refines the three deepest features. A transformer
    decoder, whose queries attend to the pixels of their own masks, predicts a class and a mask for
    each query. The score of a class is the sum over the queries of its probability times the
    mask's.

    Attributes:
        out_channels: Classes.
        width: Channels of the queries.
        dropout: Probability of dropping a value, or an attention weight, in training.
        queries: Number of queries.
        depth: Layers of the transformer decoder.
        hidden: Channels between the pointwise layers of the transformer decoder.
        hidden_activation: A name in `ACTIVATIONS`, between them.
        pre_norm: Whether its layer norms come before the layers, not after their residual sum.
        heads: Attention heads of both decoders.
        pixel_width, pixel_depth, pixel_hidden: Channels and layers of the pixel decoder, and the
            channels between its pointwise layers.
        points: Points that its attention reads in each level, for each head.
        skips: Features that are added to its result, from the shallowest on; the masks have the
            size of the shallowest, or with none of the shallowest that is refined.
        mask_width: Channels of the pixels that are multiplied with the queries.
        project_inputs: Whether the features are projected for the transformer decoder even if
            their channels are `width` already.
        score_size: Height and width of the scores.
        strides, dtype: As in `Decoder`; the last four features are used.
    """

    out_channels: int
    width: int = 256
    dropout: float = 0.0
    queries: int = 100
    depth: int = 9
    hidden: int = 2048
    hidden_activation: str = "relu"
    pre_norm: bool = False
    heads: int = 8
    pixel_width: int = 256
    pixel_depth: int = 6
    pixel_hidden: int = 1024
    points: int = 4
    skips: int = 1
    mask_width: int = 256
    project_inputs: bool = False
    score_size: int = 384
    returns_logits = True
    returns_scores = True
    resized_once = True

    @property
    def stride(self) -> int:
        """Stride of the masks."""
        return self.strides[-LEVELS - 1 if self.skips else -LEVELS]

    @staticmethod
    def unmet_requirement(strides: Sequence[int]) -> str | None:
        """Return the requirement that an encoder of these strides fails, as a clause, or None."""
        return None if len(strides) > LEVELS else f"needs {LEVELS + 1} features"

    @classmethod
    def fields(cls, context: Context, **options: Any) -> Fields:
        """Check that there are two or more classes, and that the options fit each other."""
        if context.out_channels < 2:
            raise UserError(
                f"config.model.head: decoder {context.names[1]} scores each class; valid: softmax"
            )
        check_positive(options, _COUNTS)
        heads = options.get("heads", cls.heads)
        for name in ("width", "pixel_width"):
            width = options.get(name, getattr(cls, name))
            if width % 4 or heads < 1 or width % heads:
                raise _invalid(name, width, f"a multiple of 4 and of heads, {heads}")
        activation = options.get("hidden_activation", cls.hidden_activation)
        if activation not in ACTIVATIONS:
            raise _invalid("hidden_activation", activation, ", ".join(ACTIVATIONS))
        if not 0 <= options.get("skips", cls.skips) <= LEVELS:
            raise _invalid("skips", options["skips"], f"0..{LEVELS}")
        return options

    @nn.compact
    def __call__(self, features: Sequence[FeatureMap], train: bool) -> FeatureMap:
        """Map the pyramid to the scores of each class, `[B, size, size, out_channels]`."""
        used = features[-LEVELS - 1 :]
        levels, pixels = PixelDecoder(
            width=self.pixel_width,
            depth=self.pixel_depth,
            hidden=self.pixel_hidden,
            heads=self.heads,
            points=self.points,
            skips=self.skips,
            mask_width=self.mask_width,
            dropout=self.dropout,
            dtype=self.dtype,
            name="pixel_decoder",
        )(used, train)
        classes, masks = QueryDecoder(
            classes=self.out_channels + 1,
            width=self.width,
            depth=self.depth,
            hidden=self.hidden,
            queries=self.queries,
            heads=self.heads,
            activation=self.hidden_activation,
            pre_norm=self.pre_norm,
            project_inputs=self.project_inputs,
            dropout=self.dropout,
            dtype=self.dtype,
            name="query_decoder",
        )(levels, pixels, train)
        self.sow("intermediates", "class_queries", classes)
        self.sow("intermediates", "mask_queries", masks.data.transpose(0, 3, 1, 2))
        # Every example has scores of the same size, as in transformers.
        size = (masks.data.shape[0], self.score_size, self.score_size, 0)
        return query_scores(resize_like(masks, FeatureMap(jnp.zeros(size))), classes)


def _invalid(name: str, value: Any, valid: str) -> UserError:
    return UserError(f"config.model.decoder_options: {name} is {value!r}; valid: {valid}")
