"""Averages of the weights, which evaluation and prediction use instead of the last weights."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.optim.checks import require


def has_average(config: ConfigDict) -> bool:
    """Return whether the state contains an average of the weights."""
    return bool(config.optim.ema_decay or config.optim.average_last)


def check_averages(config: ConfigDict) -> None:
    """Raise UserError if the average of `config.optim` is not valid."""
    optim, steps = config.optim, config.train.steps
    last = optim.average_last
    require(0 <= last <= steps, "optim.average_last", last, f"in 0..{steps} (train.steps)")
    if optim.ema_decay and last:
        raise UserError(
            f"config.optim.average_last: is {last} beside config.optim.ema_decay = "
            f"{optim.ema_decay}; only one of the two averages can be used"
        )


def update_average(average: Any, new: Any, config: ConfigDict, step: jax.Array | int) -> Any:
    """Update the average by `optim.ema_decay` or `optim.average_last`.

    Args:
        average: A pytree of arrays.
        new: The weights after this update, a pytree of the same structure.
        config: The config.
        step: Number of updates before this one.
    """
    if config.optim.average_last:
        start = config.train.steps - config.optim.average_last
        return mean_update(average, new, jnp.asarray(step, jnp.float32) - start)
    return ema_update(average, new, config.optim.ema_decay, step)


def ema_update(ema: Any, new: Any, decay: float, step: jax.Array | int) -> Any:
    """Update an exponential moving average: `d * ema + (1 - d) * new`.

    `d` is `min(decay, (1 + step) / (10 + step))`, as in TensorFlow's ExponentialMovingAverage, so
    that the random initial weights soon lose their influence.

    Args:
        ema: A pytree of arrays.
        new: A pytree of the same structure.
        decay: In 0..1.
        step: Number of updates of the average before this one.

    Returns:
        A pytree with the dtypes of `ema`. Leaves that are not floats are those of `new`.
    """
    step = jnp.asarray(step, jnp.float32)
    return _interpolate(ema, new, jnp.minimum(decay, (1 + step) / (10 + step)))


def mean_update(mean: Any, new: Any, count: jax.Array | float) -> Any:
    """Add weights to a running mean (Izmailov et al. 2018, arXiv:1803.05407).

    Args:
        mean: A pytree of arrays.
        new: A pytree of the same structure.
        count: Number of weights in the mean; below 1 the result is `new`.

    Returns:
        As `ema_update`.
    """
    count = jnp.maximum(jnp.asarray(count, jnp.float32), 0)
    # Selected, not added, so that the first weights are copied exactly.
    mean = jax.tree.map(lambda old, now: jnp.where(count < 1, now, old), mean, new)
    return _interpolate(mean, new, count / (count + 1))


def _interpolate(average: Any, new: Any, keep: jax.Array) -> Any:
    def update(old: jax.Array, now: jax.Array) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(old), jnp.floating):
            return now
        return jnp.asarray(old + (1 - keep) * (now - old), jnp.result_type(old))

    return jax.tree.map(update, average, new)
