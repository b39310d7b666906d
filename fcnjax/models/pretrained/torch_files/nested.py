"""Named values out of the nested dictionaries of a pickle."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from fcnjax.io.safetensors_files import MAX_NAME

_MAX_DEPTH = 32  # of dictionaries in each other
_MAX_VALUES = 2**20  # of all dictionaries, counted as often as they are reached

T = TypeVar("T")


def named_values(
    content: Mapping[str, Any],
    kind: type[T],
    separator: str,
    seen: Iterator[int],
    path: tuple[str, ...] = (),
) -> Iterator[tuple[str, T]]:
    """Yields the values of a kind in a dictionary and in those within it.

    Args:
        content: The dictionary.
        kind: The type of the values.
        separator: Joins the keys that lead to a value, which are its name.
        seen: Counts the values, those of other kinds included; the same for all of a file.
        path: The keys that lead to `content`.

    Raises:
        ValueError: Dictionaries hold themselves, are nested too deeply, or are shared so often that
            they have too many values in all; or a name is too long.
    """
    if len(path) > _MAX_DEPTH:
        raise ValueError(f"dictionaries nested more than {_MAX_DEPTH} deep")
    for key, value in content.items():
        if next(seen) > _MAX_VALUES:
            raise ValueError(f"dictionaries of more than {_MAX_VALUES} values")
        if isinstance(value, kind):
            if sum(map(len, path)) + len(key) > MAX_NAME:
                raise ValueError(f"a tensor with a name of more than {MAX_NAME} characters")
            yield separator.join((*path, key)), value
        elif isinstance(value, dict):
            yield from named_values(value, kind, separator, seen, (*path, key))
