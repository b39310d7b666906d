"""Configs as flat dictionaries, and the keys that differ between two."""

from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict


def flatten(config: ConfigDict) -> dict[str, Any]:
    """The config as `{"section.key": value}`, lists as tuples."""
    return dict(_walk(config, ""))


def _walk(node: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key in node:
        value = node[key]
        if isinstance(value, ConfigDict):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield prefix + key, tuples(value)


def tuples(value: Any) -> Any:
    """Turns lists, and those within, into tuples: configs that are equal compare so."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def differences(one: ConfigDict, other: ConfigDict, may_differ: Sequence[str] = ()) -> list[str]:
    """Return the full names of the keys whose values differ, less those in `may_differ`."""
    one, other = flatten(one), flatten(other)
    return [
        key
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and key not in may_differ
    ]
