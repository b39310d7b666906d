"""A resized map that is reduced in blocks of rows equals the whole one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.models.layers import (
    FeatureMap,
    resize,
    resize_and_reduce,
    resize_corners_like,
    resize_like,
)


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def best(data):
    return jnp.argmax(data, -1)


EXTENTS = {
    "whole": (None, None),
    "padded": (((4, 9), (9, 11)), ((29, 33), (37, 50))),
    "stretched": (None, ((29, 33), (37, 50))),
}


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("extents", EXTENTS)
def test_blocks_of_rows_give_what_the_whole_map_gives(monkeypatch, extents, align_corners):
    old, new = (None if e is None else np.asarray(e, np.int32) for e in EXTENTS[extents])
    x = FeatureMap(drawn(2, 9, 11, 5), old)
    like = FeatureMap(np.zeros((2, 37, 50, 0), np.float32), new)
    enlarge = resize_corners_like if align_corners else resize_like

    whole = jax.jit(lambda x: best(enlarge(x, like).data))(x)
    monkeypatch.setattr(resize, "BLOCK_BYTES", 2 * 50 * 5 * 4 * 7)  # 7 rows
    program = jax.jit(lambda x: resize_and_reduce(x, like, best, align_corners))
    assert "scan" in str(program.trace(x).jaxpr)
    blocks, whole = jax.device_get((program(x), whole))
    assert blocks.shape == (2, 37, 50)
    for i in range(2):
        height, width = (37, 50) if new is None else new[i]
        np.testing.assert_array_equal(blocks[i, :height, :width], whole[i, :height, :width])
