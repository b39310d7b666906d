"""Checks that depend on two keys of a config."""

from typing import Any

from fcnjax.errors import UserError


def require(condition: bool, key: str, value: Any, valid: str) -> None:
    """Raise UserError with the key, its value and the valid values unless the condition holds."""
    if not condition:
        raise UserError(f"config.{key}: {value} is not {valid}")
