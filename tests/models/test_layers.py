"""The layers against hand-computed numbers and plain JAX."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from padded_maps import assert_same_inside, initialised, on_padded, padded, random, resized_padded

from fcnjax.models import layers
from fcnjax.models.layers import FeatureMap

# Half of the time of these tests is compilation.


def assert_same_with_gradient(ours, reference, *args):
    """Assert equal results, and equal gradients of a random weighting of them."""

    @jax.jit
    def run(*args):
        results = []
        for fn in (ours, reference):
            out, vjp = jax.vjp(fn, *args)
            results.append((out, vjp(random(*out.shape, seed=1))))
        return results

    for one, other in zip(*map(jax.tree.leaves, run(*args)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


CONVS = [
    layers.Conv(4),
    layers.Conv(4, kernel=3, stride=2, padding=1),
    layers.Conv(4, kernel=7, stride=2, padding=3, use_bias=False),
    layers.Conv(4, kernel=3, dilation=3),
    layers.Conv(4, kernel=1, stride=2),
    layers.ConvTranspose2x(4),
    layers.BilinearConvTranspose(2),
    layers.BilinearConvTranspose(3),
]


@pytest.mark.parametrize("layer", CONVS, ids=lambda layer: f"{type(layer).__name__}")
def test_padding_is_invisible_to_convolutions(layer):
    assert_same_inside(*on_padded(initialised(layer)))


POOLS = [
    {},
    {"ceil": True},
    {"kernel": 3, "stride": 2, "padding": 1},
    {"kernel": 3, "stride": 1, "padding": 1},
]


@pytest.mark.parametrize("options", POOLS)
def test_padding_is_invisible_to_pooling(options):
    result, alone = on_padded(functools.partial(layers.max_pool, **options))
    assert np.isfinite(result.data).all()
    assert_same_inside(result, alone)


def test_padding_is_invisible_to_group_norm_and_global_mean():
    x, bare = padded(channels=12)
    assert_same_inside(*on_padded(initialised(layers.GroupNorm(), False), channels=12))
    means = np.concatenate([np.mean(one.data, (1, 2)) for one in bare])
    np.testing.assert_allclose(jax.jit(layers.global_mean)(x), means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("canvas", [(18, 22), (13, 7)])
def test_padding_is_invisible_to_resizing(canvas):
    for resize in (layers.resize_like, layers.crop_or_pad_like):
        result, alone = resized_padded(resize, canvas)
        assert result.size == canvas
        assert_same_inside(result, alone)


@pytest.mark.parametrize("extents", [None, (((2, 3), (4, 2)), ((4, 3), (8, 5)), ((7, 6), (15, 9)))])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_convolution_of_resized_maps_equals_that_of_their_concatenation(platform, extents):
    sizes, extents = ((4, 3), (8, 6), (15, 11)), extents or (None,) * 3
    maps = [
        FeatureMap(random(2, *size, 3 + i, seed=i), None if e is None else np.asarray(e))
        for i, (size, e) in enumerate(zip(sizes, extents, strict=True))
    ]
    block = layers.ConvNormAct(7, 1)

    @jax.jit
    def run(maps):
        joined = layers.concat([layers.resize_like(x, maps[-1]) for x in maps])
        expected, variables = block.init_with_output(jax.random.key(0), joined, False)
        with layers.compile_for(layers.Platform(platform)):
            folded = block.apply(variables, joined, False, mutable=["folded"])[1]
            variables = {**variables, **folded}
            return expected, block.apply(variables, layers.ResizedMaps(maps, maps[-1]), False)

    expected, result = jax.device_get(run(maps))
    heights = (15, 15) if extents[-1] is None else [height for height, _ in extents[-1]]
    widths = (11, 11) if extents[-1] is None else [width for _, width in extents[-1]]
    for i, (height, width) in enumerate(zip(heights, widths, strict=True)):
        inside = np.s_[i, :height, :width]
        np.testing.assert_allclose(result.data[inside], expected.data[inside], atol=1e-5)


def test_conv_equals_flax():
    x = FeatureMap(random(2, 7, 8, 3))
    layer = layers.Conv(5, kernel=3, stride=2, dilation=2, padding=1)
    result, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (3, 3, 3, 5)
    reference = nn.Conv(5, (3, 3), 2, padding=((1, 1), (1, 1)), kernel_dilation=2)
    expected = jax.jit(reference.apply)(variables, x.data)
    np.testing.assert_allclose(result.data, expected, rtol=1e-5, atol=1e-6)


def test_he_normal_uses_fan_out():
    kernel = layers.he_normal(jax.random.key(0), (3, 3, 8, 64), jnp.float32)
    assert np.std(kernel) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("size", [(7, 8), (1, 4)])
@pytest.mark.parametrize("options", POOLS)
def test_max_pool_and_its_gradient_equal_reduce_window(size, options):
    x = random(2, *size, 3)
    kernel, stride, padding, ceil = (
        options.get(name, default)
        for name, default in (("kernel", 2), ("stride", 2), ("padding", 0), ("ceil", False))
    )
    pads = []
    for n in size:
        over = (n + 2 * padding - kernel) % stride if ceil else 0
        pads.append((padding, max(padding + (stride - over if over else 0), kernel - n - padding)))

    def reference(x):
        return nn.max_pool(x, (kernel, kernel), (stride, stride), pads)

    def ours(x):
        return layers.max_pool(FeatureMap(x), **options).data

    assert_same_with_gradient(ours, reference, x)


def test_max_pool_by_hand():
    x = FeatureMap(np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3, 1))  # 1 2 3 / 4 5 6
    floor, ceil = jax.jit(lambda x: (layers.max_pool(x), layers.max_pool(x, ceil=True)))(x)
    assert np.ravel(floor.data).tolist() == [5]
    assert np.ravel(ceil.data).tolist() == [5, 6]


@pytest.mark.parametrize("target", [(10, 21), (9, 7), (3, 1)])
def test_resize_and_its_gradient_equal_jax_image(target):
    x = random(2, 5, 7, 3)

    def reference(x):
        return jax.image.resize(x, (2, *target, 3), "bilinear", antialias=False)

    def ours(x):
        return layers.resize_like(FeatureMap(x), FeatureMap(jnp.zeros((2, *target, 1)))).data

    assert_same_with_gradient(ours, reference, x)


def rows_of_widths(resize, values, widths):
    """Return the row of values resized to each of the widths."""
    x = FeatureMap(np.asarray(values, np.float32).reshape(1, 1, -1, 1))
    likes = [FeatureMap(np.zeros((1, 1, width, 1))) for width in widths]
    results = jax.jit(lambda x: [resize(x, like).data for like in likes])(x)
    return [np.ravel(row).tolist() for row in results]


def test_resize_by_hand():
    rows = rows_of_widths(layers.resize_like, [0, 4], (4, 3, 1))
    assert rows == [[0, 1, 3, 4], [0, 2, 4], [2]]


def test_downsizing_does_not_smooth():
    assert rows_of_widths(layers.resize_like, np.arange(9) ** 2, (3,)) == [[1, 16, 49]]


def test_conv_transpose_and_its_gradient_equal_lax():
    x = random(2, 5, 7, 3)
    layer = layers.ConvTranspose2x(4)
    params = jax.jit(layer.init)(jax.random.key(0), FeatureMap(x))["params"]
    params["bias"] = random(4)

    def reference(params, x):
        kernel = params["transposed_kernel"][::-1, ::-1]  # lax correlates the dilated input with it
        return lax.conv_transpose(x, kernel, (2, 2), "VALID") + params["bias"]

    def ours(params, x):
        return layer.apply({"params": params}, FeatureMap(x)).data

    assert jax.eval_shape(ours, params, x).shape == (2, 10, 14, 4)
    assert_same_with_gradient(ours, reference, params, x)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_bilinear_conv_transpose_is_initialised_to_bilinear(factor):
    x = FeatureMap(random(1, 5, 6, 2))
    layer = layers.BilinearConvTranspose(factor)
    like = FeatureMap(np.zeros((1, 5 * factor, 6 * factor, 1)))
    run = jax.jit(lambda x: (initialised(layer)(x), layers.resize_like(x, like)))
    result, expected = jax.device_get(run(x))
    assert result.size == like.size
    edge = factor // 2 + 1  # where it fades
    inner = np.s_[:, edge:-edge, edge:-edge]
    np.testing.assert_allclose(result.data[inner], expected.data[inner], rtol=1e-5, atol=1e-6)


def test_batch_norm_by_hand():
    x = FeatureMap(np.asarray([1, 2, 3, 6], np.float32).reshape(1, 2, 2, 1))
    norm = layers.BatchNorm()

    @jax.jit
    def run(x):
        variables = norm.init(jax.random.key(0), x, False)
        result, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
        return result.data, updated, norm.apply({**variables, **updated}, x, False).data

    trained, updated, inferred = jax.device_get(run(x))
    expected = np.array([-2.0, -1.0, 0.0, 3.0]) / np.sqrt(3.5 + 1e-5)  # mean 3, variance 3.5
    np.testing.assert_allclose(trained.ravel(), expected, rtol=1e-5)
    assert updated["batch_stats"]["mean"] == pytest.approx(0.3)
    # The running variance is the unbiased one, 14 / 3.
    assert updated["batch_stats"]["var"] == pytest.approx(0.9 + 1.4 / 3)
    expected = (x.data.ravel() - 0.3) / np.sqrt(0.9 + 1.4 / 3 + 1e-5)
    np.testing.assert_allclose(inferred.ravel(), expected, rtol=1e-5)


def test_batch_norm_of_a_single_pixel_is_finite():
    x = FeatureMap(random(1, 1, 1, 4) * 100)
    norm = layers.BatchNorm()

    def loss(data):
        variables = norm.init(jax.random.key(0), x, False)
        result, _ = norm.apply(variables, FeatureMap(data), True, mutable=["batch_stats"])
        return (result.data**2).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(x.data)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_training_batch_norm_on_padding_raises():
    x, _ = padded()
    norm = layers.BatchNorm()
    variables = jax.jit(norm.init, static_argnums=2)(jax.random.key(0), x, False)
    with pytest.raises(ValueError, match="padded"):
        norm.apply(variables, x, True, mutable=["batch_stats"])


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (12, 4), (21, 1)])
def test_group_norm_equals_flax(channels, groups):
    x = FeatureMap(random(2, 4, 5, channels) * 3 + 1)
    norm = layers.GroupNorm()
    variables = jax.eval_shape(lambda: norm.init(jax.random.key(0), x, True))
    variables = jax.tree.map(lambda p: random(*p.shape), variables)
    expected = jax.jit(nn.GroupNorm(groups, epsilon=1e-5).apply)(variables, x.data)
    result = jax.jit(norm.apply, static_argnums=2)(variables, x, True)
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-5)


def test_spatial_dropout_drops_whole_channels():
    x = FeatureMap(np.ones((2, 3, 3, 50), np.float32))
    layer = jax.jit(layers.SpatialDropout(0.4).apply, static_argnums=2)
    result = np.asarray(layer({}, x, True, rngs={"dropout": jax.random.key(0)}).data)
    assert (np.ptp(result, axis=(1, 2)) == 0).all()
    assert set(np.unique(result).round(4)) == {0, np.float32(1 / 0.6).round(4)}
    np.testing.assert_array_equal(layer({}, x, False).data, x.data)


def test_crop_or_pad_like_by_hand():
    rows = rows_of_widths(layers.crop_or_pad_like, [1, 2], (1, 2, 4))
    assert rows == [[1], [1, 2], [1, 2, 2, 2]]


def test_concat_add_and_activations():
    x, y = FeatureMap(random(1, 2, 2, 3)), FeatureMap(random(1, 2, 2, 3, seed=1))

    @jax.jit
    def run(x, y, one):
        at_one = {name: fn(one) for name, fn in layers.ACTIVATIONS.items()}
        return layers.concat([x, y]).data, layers.add(x, y).data, at_one

    both, total, at_one = jax.device_get(run(x, y, -1.0))
    np.testing.assert_array_equal(both[..., 3:], y.data)
    np.testing.assert_array_equal(total, x.data + y.data)
    assert {name: round(float(value), 4) for name, value in at_one.items()} == {
        "relu": 0,
        "relu6": 0,
        "leaky_relu": -0.01,
        "gelu": -0.1587,
        "silu": -0.2689,
        "hard_swish": -0.3333,
    }


def test_no_masking_without_an_extent():
    x = FeatureMap(random(1, 8, 8, 3))
    block = layers.ConvNormAct(4)
    variables = jax.eval_shape(lambda: block.init(jax.random.key(0), x, False))

    def run(variables, x):
        return layers.max_pool(block.apply(variables, x, False)).data

    program = jax.make_jaxpr(run)
    assert "iota" not in str(program(variables, x))
    assert "iota" in str(program(variables, x.replace(extent=np.asarray([[8, 8]]))))
