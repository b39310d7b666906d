import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.optim import decay_mask, ema_update, make_optimizer, make_schedule

PARAMS = {
    "conv": {"kernel": [[1.0, -2.0]], "bias": [0.5]},
    "norm": {"scale": [2.0], "bias": [-1.0]},
}
GRADS = {
    "conv": {"kernel": [[0.3, 0.4]], "bias": [-1.0]},
    "norm": {"scale": [0.1], "bias": [2.0]},
}


def arrays(tree):
    return jax.tree.map(jnp.asarray, tree, is_leaf=lambda node: isinstance(node, list))


def config_with(steps=100, **optim):
    config = default_config()
    config.train.steps = steps
    for key, value in optim.items():
        config.optim[key] = value
    return config


def run(config, steps, grads=GRADS):
    """The parameters after some steps with the same gradient."""
    optimizer, params = make_optimizer(config), arrays(PARAMS)
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(arrays(grads), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 0, 0.1),
        ("constant", 99, 0.1),
        ("cosine", 0, 0.1),
        ("cosine", 25, 0.05 * (1 + np.cos(np.pi / 4))),
        ("cosine", 100, 0.0),
        ("cosine", 150, 0.0),
        ("poly", 0, 0.1),
        ("poly", 30, 0.1 * 0.7**0.9),
        ("poly", 100, 0.0),
    ],
)
def test_schedules(schedule, step, expected):
    function = make_schedule(config_with(lr=0.1, schedule=schedule))
    assert function(jnp.int32(step)) == pytest.approx(expected, abs=1e-8)


def test_warm_up_rises_from_zero_and_the_rest_fills_what_is_left():
    function = make_schedule(config_with(lr=0.1, schedule="cosine", warmup_steps=20))
    rates = [float(function(step)) for step in (0, 5, 20, 60, 100)]
    assert rates == pytest.approx([0, 0.025, 0.1, 0.05, 0], abs=1e-8)


def test_sgd_is_torch_s():
    config = config_with(name="sgd", lr=0.1, schedule="constant", momentum=0.9, weight_decay=0.01)
    kernel, bias = np.array([[1.0, -2.0]]), 0.5
    speed, bias_speed = 0, 0
    for _ in range(3):
        speed = 0.9 * speed + np.array([[0.3, 0.4]]) + 0.01 * kernel
        kernel = kernel - 0.1 * speed
        bias_speed = 0.9 * bias_speed - 1.0
        bias = bias - 0.1 * bias_speed
    got = run(config, 3)
    np.testing.assert_allclose(got["conv"]["kernel"], kernel, rtol=1e-6)
    np.testing.assert_allclose(got["conv"]["bias"], [bias], rtol=1e-6)


def test_sgd_without_momentum():
    config = config_with(name="sgd", lr=0.1, schedule="constant", momentum=0.0, weight_decay=0.0)
    np.testing.assert_allclose(run(config, 2)["conv"]["kernel"], [[0.94, -2.08]], rtol=1e-6)


def test_adamw_is_torch_s():
    config = config_with(lr=0.1, schedule="constant", weight_decay=0.05, b1=0.8, b2=0.95)

    def torch(value, grad, decay):
        mean = square = 0.0
        for step in range(1, 4):
            value = value * (1 - 0.1 * decay)
            mean, square = 0.8 * mean + 0.2 * grad, 0.95 * square + 0.05 * grad**2
            root = np.sqrt(square / (1 - 0.95**step)) + 1e-8
            value = value - 0.1 * mean / (1 - 0.8**step) / root
        return value

    got = run(config, 3)
    kernel = torch(np.array([[1.0, -2.0]]), np.array([[0.3, 0.4]]), 0.05)
    np.testing.assert_allclose(got["conv"]["kernel"], kernel, rtol=1e-5)
    np.testing.assert_allclose(got["conv"]["bias"], [torch(0.5, -1.0, 0)], rtol=1e-5)
    np.testing.assert_allclose(got["norm"]["scale"], [torch(2.0, 0.1, 0)], rtol=1e-5)


def test_clipping_is_by_the_global_norm():
    options = {"name": "sgd", "lr": 1.0, "schedule": "constant", "weight_decay": 0.0}
    params = arrays(PARAMS)
    norm = np.sqrt(0.3**2 + 0.4**2 + 1 + 0.1**2 + 2**2)
    got = run(config_with(clip_norm=0.5, **options), 1)
    moved = np.asarray(params["conv"]["kernel"] - got["conv"]["kernel"])
    np.testing.assert_allclose(moved, np.array([[0.3, 0.4]]) * 0.5 / norm, rtol=1e-5)
    loose = run(config_with(clip_norm=50.0, **options), 1)
    np.testing.assert_allclose(loose["conv"]["bias"], [1.5], rtol=1e-6)


def test_only_kernels_decay():
    params = arrays(PARAMS) | {"odd": {"kernel": jnp.ones(3), "weight": jnp.ones((2, 2))}}
    assert decay_mask(params) == {
        "conv": {"kernel": True, "bias": False},
        "norm": {"scale": False, "bias": False},
        "odd": {"kernel": False, "weight": False},
    }


def test_the_first_step_of_a_warm_up_moves_nothing():
    got = run(config_with(warmup_steps=10), 1)
    jax.tree.map(np.testing.assert_array_equal, got, arrays(PARAMS))


def test_ema():
    ema, new = {"a": jnp.zeros(2), "n": jnp.int32(1)}, {"a": jnp.ones(2), "n": jnp.int32(5)}
    first = ema_update(ema, new, 0.99, 0)
    np.testing.assert_allclose(first["a"], 0.9, rtol=1e-6)  # keeps (1 + 0) / (10 + 0)
    assert first["n"] == 5
    late = jax.jit(ema_update)(ema, new, 0.99, jnp.int32(100_000))
    np.testing.assert_allclose(late["a"], 0.01, rtol=1e-4)
    half = ema_update({"a": jnp.zeros(2, jnp.bfloat16)}, {"a": jnp.ones(2)}, 0.5, 50)
    assert half["a"].dtype == jnp.bfloat16


def test_ema_of_what_does_not_move_stays_exactly():
    tree = arrays(PARAMS)
    jax.tree.map(np.testing.assert_array_equal, ema_update(tree, tree, 0.999, 7), tree)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"schedule": "cosin"}, "config.optim.schedule.*did you mean 'cosine'"),
        ({"name": "adam"}, "config.optim.name"),
        ({"lr": -1.0}, "config.optim.lr"),
        ({"lr": float("nan")}, "config.optim.lr"),
        ({"steps": 0}, "config.train.steps"),
        ({"warmup_steps": -1}, "config.optim.warmup_steps"),
        ({"warmup_steps": 100}, "config.optim.warmup_steps"),
        ({"poly_power": 0.0}, "config.optim.poly_power"),
        ({"clip_norm": -1.0}, "config.optim.clip_norm"),
        ({"weight_decay": -1.0}, "config.optim.weight_decay"),
        ({"momentum": 1.0}, "config.optim.momentum"),
        ({"b1": -0.1}, "config.optim.b1"),
        ({"b2": 1.5}, "config.optim.b2"),
        ({"ema_decay": 1.0}, "config.optim.ema_decay"),
    ],
)
def test_bad_values_name_the_key(changes, key):
    with pytest.raises(UserError, match=key):
        make_optimizer(config_with(**changes))
