"""Configs as flat dictionaries, and the keys that differ between two."""

from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Return a config as `{"section.key": value}`, with tuples in place of lists."""
    return dict(_walk(config, ""))


def _walk(node: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key in node:
        value = node[key]
        if isinstance(value, ConfigDict):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield prefix + key, tuples(value)


def tuples(value: Any) -> Any:
    """Return a value with tuples in place of all lists, so that equal configs compare equal."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def differences(one: ConfigDict, other: ConfigDict, may_differ: Sequence[str] = ()) -> list[str]:
    """Return the full names of the keys whose values differ, less those in `may_differ`."""
    one, other = flatten(one), flatten(other)
    return [
        key
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and key not in may_differ
    ]
