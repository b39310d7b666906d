"""How a value of the config that is out of range is refused."""

from typing import Any

from fcnjax.errors import UserError


def require(good: bool, key: str, value: Any, what: str) -> None:
    """Raises UserError, which names `config.KEY`, its value and what is valid, unless `good`."""
    if not good:
        raise UserError(f"config.{key}: {value} is not {what}")
