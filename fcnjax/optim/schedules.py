"""Learning rate schedules."""

import itertools
from collections.abc import Callable, Mapping

import jax
import optax
from ml_collections import ConfigDict

from fcnjax.config import check_section, check_value
from fcnjax.optim.checks import require

# As in PyTorch's OneCycleLR, a cycle starts well below its peak (Smith and Topin 2019).
CYCLE_START = 1 / 25
CYCLE_RISE = 0.3  # share of the steps if `optim.warmup_steps` is 0


def make_schedule(config: ConfigDict) -> optax.Schedule:
    """Return the learning rate as a function of the step, from 0 to `train.steps - 1`.

    It rises linearly from 0 to `lr` over `optim.warmup_steps`, then follows `optim.schedule` over
    the rest of `train.steps`:

    - `constant`
    - `cosine`: half a cosine down to `optim.lr_end` (Loshchilov and Hutter, 2017)
    - `poly`: `lr_end + (lr - lr_end) * (1 - progress) ** poly_power` (Liu et al., ParseNet, 2015).
      Like `cosine`, it reaches `lr_end` one step after the last, as in the papers and PyTorch.
    - `step`: multiplied by `optim.step_factor` at each step of `optim.milestones`
    - `one_cycle` (Smith and Topin 2019, arXiv:1708.07120): from `lr / 25` up to `lr` and down to
      `lr_end`, each half a cosine. The rise replaces the warm-up: `optim.warmup_steps`, or 0.3 of
      the steps if that is 0. As in PyTorch's OneCycleLR, the last step of the rise has `lr` and the
      last step of the run has `lr_end`. Unlike there, momentum does not change.

    Raises:
        UserError: The schedule is unknown or a value is out of range; names the key.
    """
    check_schedule(config)
    return SCHEDULES[config.optim.schedule](config.optim, config.train.steps)


def make_learning_rate_fn(config: ConfigDict) -> Callable[[int], float]:
    """Return the learning rate of a step below `train.steps`, computed by at most one program.

    Raises:
        UserError: As `make_schedule`.
    """
    schedule = make_schedule(config)
    if config.optim.schedule == "constant" and not config.optim.warmup_steps:
        return schedule  # no program, and no rounding to float32
    program = jax.jit(schedule)
    return lambda step: float(program(step))


def check_schedule(config: ConfigDict) -> None:
    """Raise UserError if `make_schedule` does not accept the config."""
    optim, steps, warmup = config.optim, config.train.steps, config.optim.warmup_steps
    check_section(optim, "optim")
    check_value("train.steps", steps)
    require(0 <= warmup < steps, "optim.warmup_steps", warmup, f"in 0..{steps - 1} (train.steps)")
    _check_end(optim)
    _check_milestones(optim, steps)


def _check_end(optim: ConfigDict) -> None:
    key, end = "optim.lr_end", optim.lr_end
    require(0 <= end <= optim.lr, key, end, f"in 0..{optim.lr} (optim.lr)")
    if optim.schedule in ("constant", "step"):
        require(
            end == 0,
            key,
            end,
            f"for the schedule {optim.schedule}, which has no final rate; valid: 0",
        )


def _check_milestones(optim: ConfigDict, steps: int) -> None:
    key, milestones, warmup = "optim.milestones", tuple(optim.milestones), optim.warmup_steps
    if optim.schedule != "step":
        require(
            not milestones, key, milestones, f"for the schedule {optim.schedule}; valid: () or step"
        )
        return
    require(bool(milestones), key, milestones, "a list of steps, such as 600,900")
    increasing = all(step < later for step, later in itertools.pairwise(milestones))
    require(increasing, key, milestones, "a list of steps that increase")
    valid = f"after the warm-up and before the last step: in {warmup + 1}..{steps - 1}"
    require(warmup < milestones[0] and milestones[-1] < steps, key, milestones, valid)


def _constant(optim: ConfigDict, steps: int) -> optax.Schedule:
    return _after_warmup(optim, optax.schedules.constant_schedule(optim.lr))


def _cosine(optim: ConfigDict, steps: int) -> optax.Schedule:
    left = steps - optim.warmup_steps
    end = optim.lr_end / optim.lr
    return _after_warmup(optim, optax.schedules.cosine_decay_schedule(optim.lr, left, end))


def _poly(optim: ConfigDict, steps: int) -> optax.Schedule:
    shape = (optim.lr_end, optim.poly_power, steps - optim.warmup_steps)
    return _after_warmup(optim, optax.schedules.polynomial_schedule(optim.lr, *shape))


def _step(optim: ConfigDict, steps: int) -> optax.Schedule:
    # A joined schedule counts its steps from its own start.
    drops = {step - optim.warmup_steps: optim.step_factor for step in optim.milestones}
    return _after_warmup(optim, optax.schedules.piecewise_constant_schedule(optim.lr, drops))


def _one_cycle(optim: ConfigDict, steps: int) -> optax.Schedule:
    peak = (optim.warmup_steps or max(int(CYCLE_RISE * steps), 1)) - 1
    rise, fall = max(peak, 1), max(steps - 1 - peak, 1)
    up = optax.schedules.cosine_decay_schedule(optim.lr * CYCLE_START, rise, 1 / CYCLE_START)
    down = optax.schedules.cosine_decay_schedule(optim.lr, fall, optim.lr_end / optim.lr)
    return optax.schedules.join_schedules([up, down], [peak])


def _after_warmup(optim: ConfigDict, schedule: optax.Schedule) -> optax.Schedule:
    warmup = optim.warmup_steps
    if not warmup:
        return schedule
    rise = optax.schedules.linear_schedule(0.0, optim.lr, warmup)
    return optax.schedules.join_schedules([rise, schedule], [warmup])


SCHEDULES: Mapping[str, Callable[[ConfigDict, int], optax.Schedule]] = {
    "constant": _constant,
    "cosine": _cosine,
    "poly": _poly,
    "step": _step,
    "one_cycle": _one_cycle,
}
