"""Layers written for speed equal plain implementations, and so do their gradients."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from small_models import CLASSES, SMALL

from fcnjax.models import DECODERS, Platform, Segmenter, compile_for
from fcnjax.models.encoders import resnet
from fcnjax.models.layers import ACTIVATIONS, ConvNormAct, FeatureMap, space_to_batch
from fcnjax.models.layers.convolution.gradient import convolve
from fcnjax.models.layers.convolution.implementations import plain_conv
from fcnjax.models.layers.convolution.transposed import transposed_conv
from fcnjax.models.layers.norm import batch_norm_train
from fcnjax.models.layers.pooling import max_pool_blocks


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rounding():
    """Return a factor of tolerances: cuDNN may use Winograd's algorithm, or split sums."""
    return 1 if jax.default_backend() == "cpu" else 10


def assert_close(ours, plain, tolerance=2e-5):
    """Assert equality within a fraction of the largest value."""
    tolerance *= rounding()
    ours, plain = map(jax.tree.leaves, jax.device_get((ours, plain)))
    for one, other in zip(ours, plain, strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


@pytest.mark.parametrize(
    ("size", "kernel", "dilation", "padding"),
    [
        ((7, 9), 3, 2, ((2, 2), (2, 2))),
        ((5, 6), 3, 4, ((4, 4), (4, 4))),
        ((4, 5), 3, 12, ((12, 12), (12, 12))),
        ((8, 7), 5, 2, ((0, 1), (3, 2))),
        ((9, 9), 2, 3, ((0, 0), (0, 0))),
    ],
)
def test_dilated_convolution(size, kernel, dilation, padding):
    data, weights = random(2, *size, 3), random(kernel, kernel, 3, 4, seed=1)
    with compile_for(Platform("gpu")):
        assert_same_gradients(data, weights, dilation, padding)


def assert_same_gradients(data, weights, *window, **options):
    """Assert that `convolve` and its gradients equal those of XLA."""
    shape = jax.eval_shape(lambda: plain_conv(data, weights, *window, **options)).shape

    @jax.jit
    def run(data, weights, cotangent):
        return [
            jax.value_and_grad(
                lambda *args, f=f: (f(*args, *window, **options) * cotangent).sum(), (0, 1)
            )(data, weights)
            for f in (convolve, plain_conv)
        ]

    assert_close(*run(data, weights, random(*shape, seed=2)))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "padding"),
    [
        ((50, 47), 3, 1, 1, ((1, 1), (1, 1))),  # blocks of rows, the last with fewer
        ((67, 80), 3, 2, 1, ((1, 1), (1, 1))),  # a row and a column that no tap reads
        ((40, 41), 3, 1, 5, ((5, 5), (3, 7))),
        ((64, 66), 2, 2, 1, ((0, 0), (0, 0))),
        ((50, 47), 1, 1, 1, ((0, 0), (0, 0))),  # blocks of several images
        ((50, 47), 1, 2, 1, ((0, 0), (0, 0))),
        ((33, 33), 1, 1, 1, ((1, 0), (0, 1))),
    ],
)
def test_gradients_of_convolutions_on_a_cpu(size, kernel, stride, dilation, padding, devices):
    data, weights = random(4, *size, 20), random(kernel, kernel, 20, 17, seed=1)
    with compile_for(Platform("cpu", data=devices)):
        assert_same_gradients(data, weights, dilation, padding, stride=stride)


@pytest.mark.parametrize("kernel", [1, 3])
def test_no_gradient_of_a_kernel_is_a_convolution_on_a_cpu(kernel):
    data, weights = random(2, 32, 32, 4), random(kernel, kernel, 4, 17, seed=1)

    def loss(data, weights):
        return convolve(data, weights, padding=((kernel // 2,) * 2,) * 2).sum()

    lowered = jax.jit(jax.grad(loss, (0, 1))).lower(data, weights).as_text()
    # The others are the convolution itself, whose result is not used, and the image's gradient.
    assert lowered.count("stablehlo.convolution") == (0 if kernel == 1 else 1)


def plain_batch_norm(data, scale, bias, epsilon, activation):
    mean, var = data.mean((0, 1, 2)), data.var((0, 1, 2))
    normed = (data - mean) / jnp.sqrt(var + epsilon) * scale + bias
    return (ACTIVATIONS[activation](normed) if activation else normed), mean, var


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_batch_norm_and_activation(activation, platform):
    data = 2 * random(3, 5, 7, 6) + 1
    scale, bias, cotangent = 1 + random(6, seed=1), random(6, seed=2), random(*data.shape, seed=3)

    @jax.jit
    def run(cotangent, *args):
        def with_gradients(norm_fn, *options):
            def weigh(*args):
                normed = norm_fn(*args, 1e-5, activation, *options)
                return (normed[0] * cotangent).sum(), normed

            return jax.value_and_grad(weigh, (0, 1, 2), has_aux=True)(*args)

        with compile_for(Platform(platform)):
            ours = with_gradients(batch_norm_train, jnp.float32)
        return ours, with_gradients(plain_batch_norm)

    ours, plain = run(cotangent, data, scale, bias)
    assert_close(ours[1], plain[1])
    assert_close(ours[0][1], plain[0][1])


def test_batch_norm_saves_only_its_input():
    data = random(2, 4, 4, 3).astype(jnp.bfloat16)

    def norm(data):
        return batch_norm_train(data, jnp.ones(3), jnp.zeros(3), 1e-5, "relu", data.dtype)[0]

    vjp = jax.eval_shape(lambda data: jax.vjp(norm, data)[1], data)
    saved = [leaf for leaf in jax.tree.leaves(vjp) if leaf.size == data.size]
    assert [leaf.dtype for leaf in saved] == [jnp.bfloat16]


@pytest.mark.parametrize("use_bias", [False, True])
def test_batch_norm_is_folded_into_the_convolution(use_bias):
    block = ConvNormAct(5, norm="batch", use_bias=use_bias)
    x = FeatureMap(random(2, 6, 7, 3))
    shapes = jax.eval_shape(lambda: block.init(jax.random.key(0), x, False))
    rng = np.random.default_rng(4)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape), shapes)
    params, stats = variables["params"], variables["batch_stats"]["norm"]
    conv = lax.conv_general_dilated(
        x.data, params["conv"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    conv = np.asarray(conv) + params["conv"].get("bias", 0)
    normed = (conv - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    plain = np.maximum(normed * params["norm"]["scale"] + params["norm"]["bias"], 0)
    with compile_for(Platform("gpu")):
        result = jax.jit(lambda variables, x: block.apply(variables, x, False).data)(variables, x)
        assert_close(result, plain)
        program = jax.make_jaxpr(lambda x: block.apply(variables, x, False).data)(x)
    after = [str(e.primitive) for e in program.eqns if e.outvars[0].aval.shape == (2, 6, 7, 5)]
    assert not {"mul", "sub", "div"} & set(after)


@pytest.mark.parametrize("batch_factor", [2, 3, 6])
def test_space_to_batch_round_trip(batch_factor):
    x = FeatureMap(random(2, 12, 18, 3))

    @jax.jit
    def run(x):
        split = space_to_batch(x, batch_factor)
        twice = space_to_batch(space_to_batch(x, 2), batch_factor)
        return split.data, space_to_batch(split, 1).data, twice.data

    split, back, twice = jax.device_get(run(x))
    assert split.shape == (
        2 * batch_factor**2,
        12 // batch_factor,
        18 // batch_factor,
        3,
    )
    np.testing.assert_array_equal(
        split[batch_factor + 1], x.data[0, 1::batch_factor, 1::batch_factor]
    )
    np.testing.assert_array_equal(back, x.data)
    np.testing.assert_array_equal(twice, split)


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        ("torchvision", (64, 96)),
        ("smp", (65, 97)),
        pytest.param("torchvision", (65, 97), marks=pytest.mark.slow),
        pytest.param("smp", (64, 96), marks=pytest.mark.slow),
    ],
)
def test_training_dilated_stages_with_space_to_batch(rule, size, monkeypatch):
    """Training with space_to_batch equals training without; odd sizes do not use it."""
    # A smooth activation: rounding would flip ReLUs, and change their gradients by more.
    smooth = {"activation": "silu"}
    encoder = SMALL["resnet_dilated"](dilation_rule=rule, **smooth)
    decoder = DECODERS["fcn_head"].make(encoder, CLASSES, ("resnet_dilated", "fcn_head"), **smooth)
    model = Segmenter(encoder, decoder.clone(dropout=0.0), CLASSES, 3)
    image, cotangent = random(2, *size, 3), random(2, *size, CLASSES, seed=5)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    factors = []

    def record(x, batch_factor):
        factors.append(batch_factor)
        return space_to_batch(x, batch_factor)

    def loss(params, stats, image, cotangent):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": stats}, image, train=True, mutable=["batch_stats"]
        )
        return (outputs["logits"] * cotangent).mean(), updated

    def run():
        step = jax.jit(jax.value_and_grad(lambda *args: loss(*args), has_aux=True))
        args = variables["params"], variables["batch_stats"], image, cotangent
        return jax.device_get(step(*args))

    monkeypatch.setattr(resnet, "space_to_batch", record)
    (_, updated), grads = run()
    assert (max(factors) > 1) == (size == (64, 96))
    monkeypatch.setattr(resnet, "space_to_batch", lambda x, batch_factor: x)
    (_, plain_updated), plain_grads = run()
    assert_close(updated, plain_updated)
    # Relative to the largest gradient: biases before a norm have only rounding errors.
    bound = rounding() * 1e-5 * max(np.abs(leaf).max() for leaf in jax.tree.leaves(plain_grads))
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(plain_grads), strict=True):
        assert np.abs(one - other).max() <= bound


def test_space_to_batch_with_another_dilation_raises():
    x = jax.eval_shape(lambda: space_to_batch(FeatureMap(jnp.zeros((1, 8, 8, 3))), 2))
    block = ConvNormAct(3, dilation=3, norm="none")
    with pytest.raises(ValueError, match="space_to_batch by 2 needs"):
        jax.eval_shape(lambda x: block.init(jax.random.key(0), x, True), x)


def plain_transposed_conv(data, kernel, stride, padding):
    edge = kernel.shape[0] - 1 - padding
    return lax.conv_general_dilated(
        data,
        kernel[::-1, ::-1],
        (1, 1),
        ((edge, edge), (edge, edge)),
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(
    ("side", "stride", "padding"),
    [(2, 2, 0), (3, 2, 0), (3, 2, 1), (4, 2, 1), (5, 3, 1), (3, 1, 1), (8, 4, 2)],
)
def test_transposed_convolution(side, stride, padding):
    data, kernel = random(2, 4, 5, 3), random(side, side, 3, 2, seed=1)
    shape = jax.eval_shape(lambda: plain_transposed_conv(data, kernel, stride, padding)).shape

    @jax.jit
    def run(data, kernel, cotangent):
        results = []
        for f in (transposed_conv, plain_transposed_conv):
            # The sum of the products would cancel, and with it the digits to compare.
            result, vjp = jax.vjp(lambda *args, f=f: f(*args, stride, padding), data, kernel)
            results.append((result, vjp(cotangent)))
        return results

    assert_close(*run(data, kernel, random(*shape, seed=2)))
    program = str(jax.make_jaxpr(lambda d: transposed_conv(d, kernel, stride, padding))(data))
    assert set(re.findall(r"lhs_dilation=(\S+ \S+)", program)) == {"(1, 1)"}


@pytest.mark.parametrize("side", [2, 3])
def test_max_pool_blocks(side):
    """Of equal values the first gets the gradient, as in torch and in reduce_window."""
    data = np.round(random(2, 2 * side, 3 * side, 4))
    cotangent = random(2, 2, 3, 4, seed=1)
    window = (1, side, side, 1)

    def plain(data, side):
        return lax.reduce_window(data, -jnp.inf, lax.max, window, window, "VALID")

    @jax.jit
    def run(data, cotangent):
        return [
            jax.value_and_grad(lambda data, f=f: (f(data, side) * cotangent).sum())(data)
            for f in (max_pool_blocks, plain)
        ]

    ours, theirs = run(data, cotangent)
    assert len(np.unique(data)) < data.size / 2
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6 * rounding())
    np.testing.assert_array_equal(ours[1], theirs[1])
