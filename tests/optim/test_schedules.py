import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.optim import make_schedule


def config_with(steps=100, **optim):
    config = default_config()
    config.train.steps = steps
    for key, value in optim.items():
        config.optim[key] = value
    return config


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


def rates(steps, **optim):
    function = make_schedule(config_with(**optim))
    return [float(function(jnp.int32(step))) for step in steps]


def test_the_rate_ends_where_it_is_told_to():
    for schedule in ("cosine", "poly", "one_cycle"):
        got = rates((100, 130), lr=0.1, lr_end=0.02, schedule=schedule)
        assert got == pytest.approx([0.02, 0.02], rel=1e-5), schedule
    half = rates((50,), lr=0.1, lr_end=0.02, schedule="poly", poly_power=2.0)
    assert half == pytest.approx([0.02 + 0.08 * 0.25], rel=1e-5)


def test_steps_are_counted_from_the_start_of_the_run():
    options = {"lr": 0.1, "schedule": "step", "milestones": (30, 60), "step_factor": 0.5}
    for warmup, fifth in ((0, 0.1), (10, 0.05)):
        got = rates((5, 29, 31, 59, 61, 99), warmup_steps=warmup, **options)
        assert got == pytest.approx([fifth, 0.1, 0.05, 0.05, 0.025, 0.025], rel=1e-5)


@pytest.mark.parametrize(("warmup", "top"), [(0, 30), (10, 10)])
def test_one_cycle_rises_to_its_peak_and_falls(warmup, top):
    got = rates(range(101), lr=0.1, schedule="one_cycle", warmup_steps=warmup)
    assert got[0] == pytest.approx(0.1 / 25, rel=1e-5)
    assert int(np.argmax(got)) == top
    assert got[top] == pytest.approx(0.1, rel=1e-5)
    assert got[top // 2] == pytest.approx((0.1 + 0.1 / 25) / 2, rel=1e-4)
    assert got[100] == pytest.approx(0, abs=1e-8)
    assert all(np.diff(got[: top + 1]) > 0)
    assert all(np.diff(got[top:]) < 0)
