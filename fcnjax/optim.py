"""The learning rate over the steps, the optimiser, and the average of the weights."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from fcnjax.errors import UserError, choose


def make_schedule(config: ConfigDict) -> optax.Schedule:
    """The learning rate at a step, counted from 0.

    It rises linearly from 0 over `optim.warmup_steps`, then follows `optim.schedule` over what is
    left of `train.steps`: `constant`, `cosine` to 0 (Loshchilov & Hutter, 2017), or `poly`, which
    is `lr * (1 - progress) ** poly_power` (Liu et al., ParseNet, 2015).

    Raises:
        UserError: An unknown schedule or a value out of range; names the key.
    """
    optim, steps = config.optim, config.train.steps
    decay = choose(SCHEDULES, optim.schedule, "config.optim.schedule")
    _require(0 < optim.lr < math.inf, "optim.lr", optim.lr, "above 0")
    _require(steps >= 1, "train.steps", steps, "at least 1")
    _require(optim.poly_power > 0, "optim.poly_power", optim.poly_power, "above 0")
    warmup = optim.warmup_steps
    _require(0 <= warmup < steps, "optim.warmup_steps", warmup, f"in 0..{steps - 1} (train.steps)")
    schedule = decay(optim, steps - warmup)
    if warmup:
        rise = optax.schedules.linear_schedule(0.0, optim.lr, warmup)
        schedule = optax.schedules.join_schedules([rise, schedule], [warmup])
    return schedule


def _constant(optim: ConfigDict, steps: int) -> optax.Schedule:
    del steps
    return optax.schedules.constant_schedule(optim.lr)


def _cosine(optim: ConfigDict, steps: int) -> optax.Schedule:
    return optax.schedules.cosine_decay_schedule(optim.lr, steps)


def _poly(optim: ConfigDict, steps: int) -> optax.Schedule:
    return optax.schedules.polynomial_schedule(optim.lr, 0.0, optim.poly_power, steps)


SCHEDULES: Mapping[str, Callable[[ConfigDict, int], optax.Schedule]] = {
    "constant": _constant,
    "cosine": _cosine,
    "poly": _poly,
}


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The update that `config.optim` asks for: clip, then AdamW or SGD at the schedule's rate.

    Weight decay is on kernels only, not on biases and norms.

    Raises:
        UserError: An unknown optimiser or schedule, or a value out of range; names the key.
    """
    optim = config.optim
    update = choose(OPTIMIZERS, optim.name, "config.optim.name")
    _require(0 <= optim.clip_norm < math.inf, "optim.clip_norm", optim.clip_norm, "0 or more")
    decay = optim.weight_decay
    _require(0 <= decay < math.inf, "optim.weight_decay", decay, "0 or more")
    for key in ("momentum", "b1", "b2", "ema_decay"):
        _require(0 <= optim[key] < 1, f"optim.{key}", optim[key], "in 0..1, and below 1")
    clip = [optax.clip_by_global_norm(optim.clip_norm)] if optim.clip_norm else []
    return optax.chain(*clip, update(optim, make_schedule(config)))


def _adamw(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019): decay times the rate."""
    return optax.adamw(
        schedule,
        b1=optim.b1,
        b2=optim.b2,
        weight_decay=optim.weight_decay,
        mask=decay_mask,
    )


def _sgd(optim: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD as in torch: the decay joins the gradient before the momentum; no Nesterov step."""
    return optax.chain(
        optax.add_decayed_weights(optim.weight_decay, mask=decay_mask),
        optax.sgd(schedule, momentum=optim.momentum or None),
    )


OPTIMIZERS: Mapping[str, Callable[[ConfigDict, optax.Schedule], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "sgd": _sgd,
}


def decay_mask(params: Any) -> Any:
    """True for the parameters that decay: kernels (transposed ones too) of two or more axes."""

    def decays(path: tuple, leaf: Any) -> bool:
        name = getattr(path[-1], "key", None)
        return name in ("kernel", "transposed_kernel") and leaf.ndim >= 2

    return jax.tree_util.tree_map_with_path(decays, params)


def ema_update(ema: Any, new: Any, decay: float, step: jax.Array | int) -> Any:
    """Moves an average of weights towards the new ones: `d * ema + (1 - d) * new`.

    `d` is `min(decay, (1 + step) / (10 + step))`, as TensorFlow's ExponentialMovingAverage has it,
    so that the first weights, which are random, are soon forgotten.

    Args:
        ema: A pytree of arrays.
        new: A pytree of the same shape.
        decay: In 0..1.
        step: The number of updates of the average before this one, from 0.

    Returns:
        A pytree with the dtypes of `ema`; leaves that are not floats are those of `new`.
    """
    step = jnp.asarray(step, jnp.float32)
    keep = jnp.minimum(decay, (1 + step) / (10 + step))

    def move(old: jax.Array, now: jax.Array) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(old), jnp.floating):
            return now
        return jnp.asarray(old + (1 - keep) * (now - old), jnp.result_type(old))

    return jax.tree.map(move, ema, new)


def _require(good: bool, key: str, value: Any, what: str) -> None:
    if not good:
        raise UserError(f"config.{key}: {value} is not {what}")
