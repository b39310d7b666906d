"""Scores of classes from the masks and the classes of queries."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.platform import current_platform


def query_scores(masks: FeatureMap, classes: jax.Array) -> FeatureMap:
    """Return the sum over queries of the probability of a class times that of the mask.

    Source: Cheng et al. 2021 (MaskFormer), arXiv:2107.06278.

    Args:
        masks: Logits `[B, H, W, Q]`, float32.
        classes: Logits `[B, Q, classes + 1]`, float32; the last class is none.

    Returns:
        Scores `[B, H, W, classes]`, from 0 on.
    """
    probabilities = nn.softmax(classes)[..., :-1]
    return masks.replace(data=jnp.einsum("bhwq,bqc->bhwc", _sigmoid(masks.data), probabilities))


def _sigmoid(x: jax.Array) -> jax.Array:
    if current_platform().platform == "onnx":
        # ONNX Runtime's operator is wrong by a multiple of itself below about 1e-8. Where no mask
        # covers a pixel all scores are small, and their shares would be noise.
        return 1 / (1 + jnp.exp(-x))
    return nn.sigmoid(x)
