import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.config import default_config
from fcnjax.optim import ema_update, mean_update, update_average


def weights(count):
    rng = np.random.default_rng(0)
    return [{"a": rng.normal(size=5).astype(np.float32)} for _ in range(count)]


def averages(config, trees):
    """Return the average after each update."""
    update = jax.jit(lambda average, new, step: update_average(average, new, config, step))
    average, *rest = trees
    for step, new in enumerate(rest):
        average = update(average, new, step)
        yield average


def test_ema():
    one = np.ones(2, np.float32)
    ema, new = {"a": 0 * one, "n": np.int32(1)}, {"a": one, "n": np.int32(5)}
    update = jax.jit(ema_update)
    first = update(ema, new, 0.99, 0)
    np.testing.assert_allclose(first["a"], 0.9, rtol=1e-6)  # keeps (1 + 0) / (10 + 0)
    assert first["n"] == 5
    late = update(ema, new, 0.99, 100_000)
    np.testing.assert_allclose(late["a"], 0.01, rtol=1e-4)
    half = update({"a": np.zeros(2, jnp.bfloat16)}, {"a": one}, 0.5, 50)
    assert half["a"].dtype == jnp.bfloat16


def test_ema_over_steps_follows_its_formula():
    config = default_config()
    config.optim.ema_decay = 0.7
    first, *rest = trees = weights(40)
    expected = first["a"].astype(np.float64)
    *_, ema = averages(config, trees)
    for step, new in enumerate(rest):
        keep = min(0.7, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * new["a"].astype(np.float64)
    np.testing.assert_allclose(ema["a"], expected, rtol=1e-5)


def test_average_of_constant_weights_is_exact():
    tree = weights(1)[0]
    for update, *how in ((ema_update, 0.999, 7), (mean_update, 7.0)):
        np.testing.assert_array_equal(jax.jit(update)(tree, tree, *how)["a"], tree["a"])


def test_average_of_the_last_steps_is_their_mean():
    config = default_config()
    config.train.steps, config.optim.average_last = 20, 6
    _, *rest = trees = weights(21)
    for step, (new, average) in enumerate(zip(rest, averages(config, trees), strict=True)):
        if step <= 14:
            np.testing.assert_array_equal(average["a"], new["a"])
    mean = np.mean([new["a"].astype(np.float64) for new in rest[14:]], 0)
    np.testing.assert_allclose(average["a"], mean, rtol=1e-5)
