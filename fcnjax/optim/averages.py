"""Averages of the weights, which evaluation and prediction use in place of the last ones."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.optim.checks import require


def has_average(config: ConfigDict) -> bool:
    """Whether the state holds an average of the weights."""
    return bool(config.optim.ema_decay or config.optim.average_last)


def check_averages(config: ConfigDict) -> None:
    """Raises UserError for an average that cannot be; names the key."""
    optim, steps = config.optim, config.train.steps
    last = optim.average_last
    require(0 <= last <= steps, "optim.average_last", last, f"in 0..{steps} (train.steps)")
    if optim.ema_decay and last:
        raise UserError(
            f"config.optim.average_last: is {last} beside config.optim.ema_decay = "
            f"{optim.ema_decay}; a run keeps one average of the weights"
        )


def update_average(average: Any, new: Any, config: ConfigDict, step: jax.Array | int) -> Any:
    """The average after one more update, by `optim.ema_decay` or `optim.average_last`.

    Args:
        average: A pytree of arrays.
        new: A pytree of the same shape: the weights after this update.
        config: The whole config.
        step: The number of updates before this one, from 0.
    """
    if config.optim.average_last:
        start = config.train.steps - config.optim.average_last
        return mean_update(average, new, jnp.asarray(step, jnp.float32) - start)
    return ema_update(average, new, config.optim.ema_decay, step)


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
    return _moved(ema, new, jnp.minimum(decay, (1 + step) / (10 + step)))


def mean_update(mean: Any, new: Any, count: jax.Array | float) -> Any:
    """Takes one more into a mean of weights (Izmailov et al. 2018, arXiv:1803.05407).

    Args:
        mean: A pytree of arrays.
        new: A pytree of the same shape.
        count: How many the mean is of; below 1 the result is `new`.

    Returns:
        As `ema_update`.
    """
    count = jnp.maximum(jnp.asarray(count, jnp.float32), 0)
    # Chosen, not added: so the first is itself to the last bit.
    mean = jax.tree.map(lambda old, now: jnp.where(count < 1, now, old), mean, new)
    return _moved(mean, new, count / (count + 1))


def _moved(average: Any, new: Any, keep: jax.Array) -> Any:
    def move(old: jax.Array, now: jax.Array) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(old), jnp.floating):
            return now
        return jnp.asarray(old + (1 - keep) * (now - old), jnp.result_type(old))

    return jax.tree.map(move, average, new)
