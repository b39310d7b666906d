"""Feature maps with padding, to test that layers ignore it."""

import jax.numpy as jnp
import numpy as np

from fcnjax.models.layers import FeatureMap

EXTENT = ((9, 6), (4, 11), (1, 1))


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def padded(channels=3):
    """Return a map whose padding is nan, and its bare examples."""
    data = np.array(random(len(EXTENT), 9, 11, channels))
    bare = []
    for example, (height, width) in zip(data, EXTENT, strict=True):
        bare.append(FeatureMap(jnp.asarray(example[None, :height, :width])))
        example[height:] = np.nan
        example[:, width:] = np.nan
    return FeatureMap(jnp.asarray(data), jnp.asarray(EXTENT)), bare


def assert_same_inside(result: FeatureMap, bare: list[FeatureMap]):
    """Assert that the result equals the results of the bare examples within each extent."""
    for data, extent, expected in zip(result.data, result.extent, bare, strict=True):
        height, width = extent
        assert expected.size == (height, width)
        np.testing.assert_allclose(data[None, :height, :width], expected.data, rtol=1e-5, atol=1e-6)
