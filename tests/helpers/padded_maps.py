"""Feature maps with padding, to test that layers ignore it."""

import jax
import numpy as np

from fcnjax.models.layers import FeatureMap

EXTENT = ((9, 6), (4, 11), (1, 1))


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def padded(channels=3):
    """Return a map whose padding is nan, and its bare examples."""
    data = random(len(EXTENT), 9, 11, channels)
    bare = []
    for example, (height, width) in zip(data, EXTENT, strict=True):
        bare.append(FeatureMap(example[None, :height, :width].copy()))
        example[height:] = np.nan
        example[:, width:] = np.nan
    return FeatureMap(data, np.asarray(EXTENT)), bare


def on_padded(fn, channels=3):
    """Return the results of `fn` for the padded map and for its bare examples, by one program."""
    run = jax.jit(lambda x, bare: (fn(x), [fn(one) for one in bare]))
    return jax.device_get(run(*padded(channels)))


def initialised(layer, *args):
    """Return the layer as a function of a map. Its weights do not depend on the map."""
    return lambda x: layer.init_with_output(jax.random.key(0), x, *args)[0]


def resized_padded(resize, canvas):
    """Return the padded map resized to `canvas`, and its bare examples to their sizes on it."""
    sizes = [
        (min(2 * h, canvas[0]), max(w * canvas[1] // 11 - i, 1)) for i, (h, w) in enumerate(EXTENT)
    ]

    def run(x, bare, extent):
        like = FeatureMap(np.zeros((len(EXTENT), *canvas, 1)), extent)
        targets = [FeatureMap(np.zeros((1, *size, 1))) for size in sizes]
        return resize(x, like), [resize(*pair) for pair in zip(bare, targets, strict=True)]

    return jax.device_get(jax.jit(run)(*padded(), np.asarray(sizes)))


def assert_same_inside(result: FeatureMap, bare: list[FeatureMap]):
    """Assert that the result equals the results of the bare examples within each extent."""
    result, bare = jax.device_get((result, bare))
    for data, extent, expected in zip(result.data, result.extent, bare, strict=True):
        height, width = extent
        assert expected.size == (height, width)
        np.testing.assert_allclose(data[None, :height, :width], expected.data, rtol=1e-5, atol=1e-6)
