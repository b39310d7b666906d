"""Norms of maps whose mean is far from 0, as in dim 16-bit images, and running statistics."""

import jax
import numpy as np
import pytest

from fcnjax.models import Platform, compile_for
from fcnjax.models.layers import BatchNorm, ConvNormAct, FeatureMap, GroupNorm
from fcnjax.models.layers.norm import batch_norm_train

# The mean of the data, and the largest error of the result, both in standard deviations.
FAR = [(0, 1e-4), (1e3, 1e-3), (1e4, 1e-2)]
OVER_BATCH, OVER_GROUP = (0, 1, 2), (1, 2, 4)


def far_data(mean, shape=(3, 24, 20, 8), seed=0):
    """Return float32 data of deviation 1 around `mean` or its negative, by channel."""
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(shape[-1]) % 2, -1, 1)
    return (rng.standard_normal(shape) + mean * signs).astype(np.float32)


def exact(data, cotangent, axes):
    """Return, in float64, the data normalised over axes, and its vector-Jacobian product."""
    data, cotangent = data.astype(np.float64), cotangent.astype(np.float64)
    inverse = 1 / np.sqrt(data.var(axes, keepdims=True) + 1e-5)
    normed = (data - data.mean(axes, keepdims=True)) * inverse
    along = normed * (cotangent * normed).mean(axes, keepdims=True)
    return normed, inverse * (cotangent - cotangent.mean(axes, keepdims=True) - along)


def with_gradient(norm_fn, data, cotangent):
    def weighted(data, cotangent):
        normed = norm_fn(data)
        return (normed * cotangent).sum(), normed

    run = jax.jit(jax.value_and_grad(weighted, has_aux=True))
    (_, normed), gradient = jax.device_get(run(data, cotangent))
    return normed, gradient


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize(("mean", "most"), FAR)
def test_batch_norm_far_from_zero(mean, most, platform):
    data, cotangent = far_data(mean), far_data(0, seed=1)
    ones, zeros = np.ones(8, np.float32), np.zeros(8, np.float32)
    with compile_for(Platform(platform)):
        result = with_gradient(
            lambda x: batch_norm_train(x, ones, zeros, 1e-5, None, np.float32)[0], data, cotangent
        )
    for one, other in zip(result, exact(data, cotangent, OVER_BATCH), strict=True):
        assert np.abs(one - other).max() < most


@pytest.mark.parametrize(("mean", "most"), FAR)
def test_batch_norm_by_running_statistics_far_from_zero(mean, most):
    data = far_data(mean)
    norm = BatchNorm(momentum=0.0)  # the running statistics are those of the last batch

    @jax.jit
    def run(x):
        variables = norm.init(jax.random.key(0), x, False)
        _, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
        return norm.apply({**variables, **updated}, x, False).data

    result = np.asarray(run(FeatureMap(data)))
    expected, _ = exact(data, data, OVER_BATCH)
    expected *= (1 - 1 / (data.size // 8)) ** 0.5  # by the unbiased variance
    assert np.abs(result - expected).max() < most


@pytest.mark.parametrize(("mean", "most"), FAR)
def test_batch_norm_folded_into_a_convolution_far_from_zero(mean, most):
    data = far_data(mean)
    block = ConvNormAct(8, kernel=1, activation=None)
    variables = jax.jit(block.init, static_argnums=2)(jax.random.key(0), FeatureMap(data), False)
    params = {**variables["params"], "conv": {"kernel": np.eye(8, dtype=np.float32)[None, None]}}
    mean, var = data.mean(OVER_BATCH, np.float64), data.var(OVER_BATCH, np.float64)
    with compile_for(Platform("gpu")):
        variables = {"params": params, "batch_stats": {"norm": {"mean": mean, "var": var}}}
        run = jax.jit(lambda variables, x: block.apply(variables, x, False).data)
        result = np.asarray(run(variables, FeatureMap(data)))
    assert np.abs(result - exact(data, data, OVER_BATCH)[0]).max() < most


@pytest.mark.parametrize("channels", [8, 12])
@pytest.mark.parametrize(("mean", "most"), FAR)
def test_group_norm_far_from_zero(mean, most, channels):
    shape = (3, 24, 20, channels)
    data, cotangent = np.abs(far_data(mean, shape)), far_data(0, shape, seed=1)
    norm = GroupNorm()

    def run(data):
        return norm.init_with_output(jax.random.key(0), FeatureMap(data), True)[0].data

    result = with_gradient(run, data, cotangent)
    groups = (*shape[:3], int(np.gcd(32, channels)), -1)
    expected = exact(data.reshape(groups), cotangent.reshape(groups), OVER_GROUP)
    for one, other in zip(result, expected, strict=True):
        assert np.abs(one - other.reshape(shape)).max() < most


@pytest.mark.parametrize(("mean", "most"), FAR)
def test_group_norm_far_from_zero_ignores_padding(mean, most):
    data = far_data(mean, (3, 12, 14, 8))
    extent = np.asarray([(12, 9), (5, 14), (1, 1)])
    padded = np.where(np.arange(14)[:, None] < extent[:, 1, None, None, None], data, np.nan)
    padded = np.where(np.arange(12)[:, None, None] < extent[:, 0, None, None, None], padded, np.nan)
    bares = [one[None, :height, :width] for one, (height, width) in zip(data, extent, strict=True)]

    @jax.jit
    def run(maps):
        return [GroupNorm().init_with_output(jax.random.key(0), x, False)[0].data for x in maps]

    maps = [FeatureMap(padded, extent), *map(FeatureMap, bares)]
    result, *alones = jax.device_get(run(maps))
    for one, alone, bare in zip(result, alones, bares, strict=True):
        height, width = bare.shape[1:3]
        np.testing.assert_allclose(one[None, :height, :width], alone, rtol=1e-5, atol=1e-5)
        expected, _ = exact(bare[..., None], bare[..., None], OVER_GROUP)
        assert np.abs(alone - expected[..., 0]).max() < most


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 1), (2, 3, 4)])
def test_running_variance_is_unbiased(size):
    """As in torch. For two examples of one pixel, as in ASPP, it is twice the biased one."""
    data = np.random.default_rng(0).standard_normal((*size, 3)).astype(np.float32)
    norm = BatchNorm()

    @jax.jit
    def run(x):
        variables = norm.init(jax.random.key(0), x, False)
        return norm.apply(variables, x, True, mutable=["batch_stats"])[1]

    updated = run(FeatureMap(data))
    count = data.size // 3
    unbiased = data.var(OVER_BATCH, ddof=1) if count > 1 else np.zeros(3)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)
