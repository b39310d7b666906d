"""Keys of a config that are open: the planner chooses them."""

from collections.abc import Iterable

from ml_collections import ConfigDict

from fcnjax.config.flatten import tuples


def leave_open(config: ConfigDict, keys: Iterable[str]) -> None:
    """Leave keys to the planner, also if they were given before.

    Args:
        config: A config, which is changed.
        keys: Full names, such as `optim.lr`, of keys that the planner can choose.
    """
    added = {key: tuples(config[key]) for key in keys}
    config.plan.auto = tuple((dict(config.plan.auto) | added).items())


def close(config: ConfigDict, key: str) -> None:
    """Keep the value of a key."""
    config.plan.auto = tuple(pair for pair in config.plan.auto if pair[0] != key)


def open_keys(config: ConfigDict) -> tuple[str, ...]:
    """Return the full names of the open keys; () if there is no time to plan for."""
    return left_open(config) if config.plan.minutes else ()


def left_open(config: ConfigDict) -> tuple[str, ...]:
    """Return the full names of the open keys, also if there is no time to plan for.

    A key whose value was changed since it was left open is not.
    """
    pairs = config.plan.auto
    return tuple(key for key, value in pairs if tuples(config[key]) == tuples(value))
