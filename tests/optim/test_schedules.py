import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.optim import SCHEDULES, make_learning_rate_fn, make_schedule


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


def test_warm_up_rises_from_zero_and_the_schedule_fills_the_rest():
    function = make_schedule(config_with(lr=0.1, schedule="cosine", warmup_steps=20))
    rates = [float(function(step)) for step in (0, 5, 20, 60, 100)]
    assert rates == pytest.approx([0, 0.025, 0.1, 0.05, 0], abs=1e-8)


def rates(at, **options):
    function = make_schedule(config_with(**options))
    return [float(function(jnp.int32(step))) for step in at]


def test_rate_ends_at_lr_end():
    for schedule, last in (("cosine", 100), ("poly", 100), ("one_cycle", 99)):
        got = rates((last, 130), lr=0.1, lr_end=0.02, schedule=schedule)
        assert got == pytest.approx([0.02, 0.02], rel=1e-5), schedule
    half = rates((50,), lr=0.1, lr_end=0.02, schedule="poly", poly_power=2.0)
    assert half == pytest.approx([0.02 + 0.08 * 0.25], rel=1e-5)


def test_milestones_are_counted_from_the_start_of_the_run():
    options = {"lr": 0.1, "schedule": "step", "milestones": (30, 60), "step_factor": 0.5}
    for warmup, fifth in ((0, 0.1), (10, 0.05)):
        got = rates((5, 29, 30, 59, 60, 99), warmup_steps=warmup, **options)
        assert got == pytest.approx([fifth, 0.1, 0.05, 0.05, 0.025, 0.025], rel=1e-5)


def one_cycle_of_torch(step, steps, part, lr, end):
    """Return the rate of torch.optim.lr_scheduler.OneCycleLR with cosine annealing."""
    peak = part * steps - 1
    first, second, start, stop = lr / 25, lr, 0, peak
    if step > peak:
        first, second, start, stop = lr, end, peak, steps - 1
    return second + (first - second) / 2 * (1 + np.cos(np.pi * (step - start) / (stop - start)))


@pytest.mark.parametrize(("steps", "end"), [(100, 0.0), (10, 0.02), (1000, 0.001)])
def test_one_cycle_equals_pytorch(steps, end):
    got = rates(range(steps), steps=steps, lr=0.1, lr_end=end, schedule="one_cycle")
    expected = [one_cycle_of_torch(step, steps, 0.3, 0.1, end) for step in range(steps)]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-8)


def test_one_cycle_of_few_steps():
    got = rates(range(3), steps=3, lr=0.1, schedule="one_cycle")
    assert got == pytest.approx([0.1, 0.05, 0], abs=1e-8)
    assert rates((0,), steps=1, lr=0.1, schedule="one_cycle") == pytest.approx([0.1])
    got = rates(range(3), steps=3, lr=0.1, schedule="one_cycle", warmup_steps=2)
    assert got == pytest.approx([0.004, 0.1, 0], abs=1e-8)


def test_last_steps_of_schedules():
    # Cosine and polynomial schedules end one step after the last.
    almost = 0.05 * (1 + np.cos(np.pi * 0.99))
    assert rates((99,), lr=0.1, schedule="cosine") == pytest.approx([almost], rel=1e-3)
    assert rates((99,), lr=0.1, schedule="poly") == pytest.approx([0.1 * 0.01**0.9], rel=1e-4)
    got = rates((0, 9, 10, 99), lr=0.1, schedule="poly", poly_power=1.0, warmup_steps=10)
    assert got == pytest.approx([0, 0.09, 0.1, 0.1 / 90], rel=1e-4)


@pytest.mark.parametrize(("warmup", "top"), [(0, 29), (10, 9)])
def test_one_cycle_rises_to_its_peak_and_falls(warmup, top):
    got = rates(range(100), lr=0.1, schedule="one_cycle", warmup_steps=warmup)
    assert got[0] == pytest.approx(0.1 / 25, rel=1e-5)
    assert int(np.argmax(got)) == top
    assert got[top] == pytest.approx(0.1, rel=1e-5)
    assert got[99] == pytest.approx(0, abs=1e-8)
    assert all(np.diff(got[: top + 1]) > 0)
    assert all(np.diff(got[top:]) < 0)


@pytest.mark.parametrize("warmup", [0, 700])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_learning_rate_is_computed_by_one_program(schedule, warmup, caplog):
    milestones = (9000, 20000) if schedule == "step" else ()
    config = config_with(40000, lr=3e-4, schedule=schedule, milestones=milestones)
    config.optim.warmup_steps = warmup
    steps = range(0, 40000, 613)
    expected = [float(make_schedule(config)(step)) for step in steps]
    caplog.clear()
    learning_rate = make_learning_rate_fn(config)
    with jax.log_compiles():
        actual = [learning_rate(step) for step in steps]
    assert actual == pytest.approx(expected, abs=3e-4 * 1e-6)
    compiled = [r for r in caplog.records if r.getMessage().startswith("Finished XLA compilation")]
    assert len(compiled) == (0 if schedule == "constant" and not warmup else 1)
