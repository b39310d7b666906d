"""scSE attention; test_parity.py compares decoders that use it with their reference."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from fcnjax.models.decoders.smp import UpBlock
from fcnjax.models.decoders.unet import UNet
from fcnjax.models.layers import SCSE, FeatureMap
from fcnjax.models.pretrained.layouts.decoders import SMP_UNET


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def ones(*shape):
    return FeatureMap(np.ones(shape, np.float32))


def random_params(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)


def test_scse_is_the_sum_of_both_gated_maps():
    rng = np.random.default_rng(0)
    size = (3, 5)
    valid = rng.standard_normal((*size, 32))
    # Padding must not enter the means.
    image = np.full((1, 4, 7, 32), np.nan, np.float32)
    image[0, : size[0], : size[1]] = valid
    x, layer = FeatureMap(image, np.asarray([size])), SCSE()
    variables = random_params(jax.eval_shape(lambda: layer.init(jax.random.key(0), x)))
    params = jax.tree.map(lambda leaf: np.squeeze(leaf).astype(np.float64), variables["params"])

    channel, spatial = params["channel"], params["spatial"]
    assert channel["reduce"]["kernel"].shape == (32, 2)
    hidden = valid.mean((0, 1)) @ channel["reduce"]["kernel"] + channel["reduce"]["bias"]
    by_channel = np.maximum(hidden, 0) @ channel["expand"]["kernel"] + channel["expand"]["bias"]
    by_pixel = valid @ spatial["kernel"] + spatial["bias"]
    expected = valid * sigmoid(by_channel) + valid * sigmoid(by_pixel)[..., None]

    result = jax.device_get(jax.jit(layer.apply)(variables, x))
    np.testing.assert_allclose(result.data[0, : size[0], : size[1]], expected, rtol=1e-5, atol=1e-6)


def test_narrow_maps_are_reduced_to_one_channel():
    x = ones(1, 2, 2, 3)
    shapes = jax.eval_shape(lambda: SCSE().init(jax.random.key(0), x))
    assert shapes["params"]["channel"]["reduce"]["kernel"].shape == (1, 1, 3, 1)


def attention_layers(module, *args) -> set[tuple[str, ...]]:
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args))
    return {path[:-1] for path in flatten_dict(shapes["params"]) if "attention" in str(path)}


@pytest.mark.parametrize("attention", [None, "scse"])
def test_block_without_skip_has_no_attention_before_convolutions(attention):
    x, like = ones(1, 2, 2, 4), ones(1, 4, 4, 4)
    block = UpBlock(8, attention=attention)
    inner = {("channel", "reduce"), ("channel", "expand"), ("spatial",)} if attention else set()
    assert attention_layers(block, x, like, [], False) == {("attention2", *path) for path in inner}
    assert attention_layers(block, x, like, [like], False) == {
        (name, *path) for name in ("attention1", "attention2") for path in inner
    }


def test_unet_has_attention_before_and_after_convolutions():
    features = [ones(1, 8 // s, 8 // s, 16) for s in (1, 2, 4)]
    module = UNet((1, 2, 4), (16, 48), attention="scse", norm="group")
    names = {path[0] for path in attention_layers(module, features, False)}
    assert names == {f"stage{i}_attention{j}" for i in (1, 2) for j in (1, 2)}
    variables = random_params(jax.eval_shape(lambda: module.init(jax.random.key(0), features, 0)))

    def run(variables, **changes):
        apply = jax.jit(module.clone(**changes).apply, static_argnums=2)
        return np.asarray(apply(variables, features, False).data)

    attended = run(variables)
    # Two gates of 1/2 add up to the map without attention.
    neutral = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * ("attention" not in str(path)), variables
    )
    plain = run(variables, attention=None)
    np.testing.assert_allclose(run(neutral), plain, rtol=1e-5, atol=1e-5)
    assert np.abs(attended - plain).max() > 0.1 * np.std(plain)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("attention1", "channel", "reduce"), "attention1.attention.cSE.1"),
        (("attention1", "channel", "expand"), "attention1.attention.cSE.3"),
        (("attention2", "spatial"), "attention2.attention.sSE.0"),
        (("conv1", "conv"), "conv1.0"),
    ],
)
def test_names_in_smp(path, name):
    assert SMP_UNET(None, ("block3", *path)) == f"decoder.blocks.3.{name}"
