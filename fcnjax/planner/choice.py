"""A choice of the planner: values of keys, and the reason."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Choice(NamedTuple):
    """Values of keys of a config, and the reason.

    Attributes:
        values: By the full name of the key, such as `optim.lr`.
        reason: One line.
    """

    values: Mapping[str, Any]
    reason: str


def describe_choice(choice: Choice) -> str:
    """Return a choice as one line of text, without keys that are None."""
    chosen = {key: value for key, value in choice.values.items() if value is not None}
    values = ", ".join(f"{key}={value!r}" for key, value in chosen.items())
    return f"planned {values}: {choice.reason}"
