"""Merging of neighbouring pixels into one with more channels."""

import jax.numpy as jnp

from fcnjax.models.layers.convolution.rearrange import space_to_depth
from fcnjax.models.layers.feature_map import FeatureMap
from fcnjax.models.layers.transformer.windows import pad_to_multiple


def merge_patches(x: FeatureMap) -> FeatureMap:
    """Concatenate the channels of each 2x2 block, column by column, as Swin does.

    A map of odd size is padded with zeros at its lower and right edge.

    Args:
        x: `[B, H, W, C]`.

    Returns:
        `[B, ceil(H / 2), ceil(W / 2), 4 C]`.
    """
    padded = pad_to_multiple(x, 2)
    upper_left, upper_right, lower_left, lower_right = space_to_depth(padded.data, 2)
    data = jnp.concatenate([upper_left, lower_left, upper_right, lower_right], -1)
    extent = None if padded.extent is None else padded.extent // 2
    return FeatureMap(data, extent)
