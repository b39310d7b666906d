import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.config import default_config
from fcnjax.optim import ema_update, mean_update, update_average


def weights(count):
    rng = np.random.default_rng(0)
    return [{"a": jnp.asarray(rng.normal(size=5), jnp.float32)} for _ in range(count)]


def test_ema():
    ema, new = {"a": jnp.zeros(2), "n": jnp.int32(1)}, {"a": jnp.ones(2), "n": jnp.int32(5)}
    first = ema_update(ema, new, 0.99, 0)
    np.testing.assert_allclose(first["a"], 0.9, rtol=1e-6)  # keeps (1 + 0) / (10 + 0)
    assert first["n"] == 5
    late = jax.jit(ema_update)(ema, new, 0.99, jnp.int32(100_000))
    np.testing.assert_allclose(late["a"], 0.01, rtol=1e-4)
    half = ema_update({"a": jnp.zeros(2, jnp.bfloat16)}, {"a": jnp.ones(2)}, 0.5, 50)
    assert half["a"].dtype == jnp.bfloat16


def test_ema_over_steps_follows_its_formula():
    config = default_config()
    config.optim.ema_decay = 0.7
    first, *rest = weights(40)
    ema, expected = first, np.asarray(first["a"], np.float64)
    for step, new in enumerate(rest):
        ema = update_average(ema, new, config, jnp.int32(step))
        keep = min(0.7, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * np.asarray(new["a"], np.float64)
    np.testing.assert_allclose(ema["a"], expected, rtol=1e-5)


def test_average_of_constant_weights_is_exact():
    tree = weights(1)[0]
    np.testing.assert_array_equal(ema_update(tree, tree, 0.999, 7)["a"], tree["a"])
    np.testing.assert_array_equal(mean_update(tree, tree, 7.0)["a"], tree["a"])


def test_average_of_the_last_steps_is_their_mean():
    config = default_config()
    config.train.steps, config.optim.average_last = 20, 6
    first, *rest = weights(21)
    average = first
    for step, new in enumerate(rest):
        average = update_average(average, new, config, jnp.int32(step))
        if step <= 14:
            np.testing.assert_array_equal(average["a"], new["a"])
    mean = np.mean([np.asarray(new["a"], np.float64) for new in rest[14:]], 0)
    np.testing.assert_allclose(average["a"], mean, rtol=1e-5)
